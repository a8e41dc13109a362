// Soak fires probes in many goroutines until its standard input is closed. It then prints as JSON
// how many hits each goroutine fired, and a result that each computed from its hits.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"usdt.local/tests/probes"
)

func main() {
	goroutines := flag.Int("goroutines", 200, "number of goroutines that fire")
	pause := flag.Duration("pause", 5*time.Millisecond, "time between two hits of a goroutine")
	linger := flag.Duration("linger", 0, "time to stay after the last hit")
	flag.Parse()

	var done atomic.Bool
	fired, results := make([]uint64, *goroutines), make([]uint64, *goroutines)
	var wait sync.WaitGroup
	for id := 0; id < *goroutines; id++ {
		wait.Add(1)
		go func(id int) {
			defer wait.Done()
			result := uint64(id)
			n := uint64(0)
			for ; !done.Load(); n++ {
				text := "soak " + strconv.FormatUint(n, 10)
				probes.Hit(uint64(id), n, text)
				// The result is wrong if a probe overwrites a register that the compiler uses.
				result = (result^uint64(len(text)))*0x100000001b3 + uint64(float64(n)*0.5)
				time.Sleep(*pause)
			}
			fired[id], results[id] = n, result
		}(id)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	done.Store(true)
	wait.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(map[string][]uint64{"fired": fired, "results": results})
	time.Sleep(*linger)
}
