// Ticks fires a probe every millisecond until it is killed.
package main

import (
	"strconv"
	"time"

	"usdt.local/tests/probes"
)

func main() {
	for n := 0; ; n++ {
		probes.Hit(1, uint64(n), "tick "+strconv.Itoa(n))
		time.Sleep(time.Millisecond)
	}
}
