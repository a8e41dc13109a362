// Fire fires one kind of probe at full speed as soon as somebody traces it, and says how long a hit took.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"usdt.local/bench/probes"
)

func main() {
	name := flag.String("probe", "hit", "what to fire")
	hits := flag.Int("n", 100000, "hits of each thread")
	length := flag.Int("text", 41, "bytes of the text")
	threads := flag.Int("threads", 1, "threads that fire")
	settle := flag.Duration("settle", 0, "time between being enabled and the first hit: some tracers enable first and attach then")
	pause := flag.Duration("pause", 0, "fire that often for ever instead")
	timeout := flag.Duration("timeout", time.Minute, "how long to wait for a tracer")
	flag.Parse()

	text := strings.Repeat("x", *length)
	kinds := map[string]struct {
		enabled func() bool
		fire    func(hits int)
	}{
		"nothing": {probes.NothingEnabled, func(hits int) {
			for n := 0; n < hits; n++ {
				probes.Nothing()
			}
		}},
		"three": {probes.ThreeEnabled, func(hits int) {
			for n := 0; n < hits; n++ {
				probes.Three(1, 2, int64(n))
			}
		}},
		"six": {probes.SixEnabled, func(hits int) {
			for n := 0; n < hits; n++ {
				probes.Six(1, 2, 3, 4, 5, int64(n))
			}
		}},
		"text": {probes.TextEnabled, func(hits int) {
			for n := 0; n < hits; n++ {
				probes.Text(text)
			}
		}},
		"hit": {probes.HitEnabled, func(hits int) {
			for n := 0; n < hits; n++ {
				probes.Hit(1, uint64(n), text)
			}
		}},
		"pair": {probes.FinishEnabled, func(hits int) {
			for n := 0; n < hits; n += 2 {
				probes.Begin(uint64(n))
				probes.Finish(uint64(n))
			}
		}},
	}
	kind, ok := kinds[*name]
	if !ok {
		fmt.Fprintln(os.Stderr, "there is no such probe")
		os.Exit(2)
	}
	if *pause > 0 {
		for {
			kind.fire(2)
			time.Sleep(*pause)
		}
	}
	for end := time.Now().Add(*timeout); !kind.enabled(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "nobody traces")
			os.Exit(1)
		}
	}
	time.Sleep(*settle)
	kind.fire(1000)
	var wait sync.WaitGroup
	begin := time.Now()
	for range *threads {
		wait.Go(func() { kind.fire(*hits) })
	}
	wait.Wait()
	fmt.Println(float64(time.Since(begin).Nanoseconds()) / float64(*hits))
}
