// Fire waits until a tracer attaches to a probe, fires it at full speed, and prints the time per
// hit in nanoseconds.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"usdt.local/bench/probes"
)

// lookup is a function with a stack check, as most have that call others.
//
//go:noinline
func lookup(id uint64, text string) (uint64, error) {
	if text == "" {
		return 0, os.ErrInvalid
	}
	return sum(id, text), nil
}

// sum is a function without a stack check.
//
//go:noinline
func sum(id uint64, text string) uint64 {
	return id + uint64(len(text))
}

// hasBreakpoint returns a function that tells whether a tracer has attached to the code of another
// function, which has no semaphore.
func hasBreakpoint(function any) func() bool {
	// An interface holds a pointer to a closure, which begins with the address of the code.
	code := **(***[64]byte)(unsafe.Add(unsafe.Pointer(&function), unsafe.Sizeof(uintptr(0))))
	before := *code
	return func() bool { return *code != before }
}

func main() {
	name := flag.String("probe", "hit", "probe to fire, or function to call")
	hits := flag.Int("n", 100000, "hits of each goroutine")
	length := flag.Int("text", 41, "length of the string argument in bytes")
	goroutines := flag.Int("threads", 1, "number of goroutines that fire")
	settle := flag.Duration("settle", 0, "time between enabling and the first hit, for tracers that enable a probe before they attach to it")
	pause := flag.Duration("pause", 0, "fire forever instead, with this pause between pairs of hits")
	timeout := flag.Duration("timeout", time.Minute, "how long to wait for a tracer")
	flag.Parse()

	text := strings.Repeat("x", *length)
	loops := map[string]struct {
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
		"lookup": {hasBreakpoint(lookup), func(hits int) {
			for n := 0; n < hits; n++ {
				_, _ = lookup(uint64(n), text)
			}
		}},
		"sum": {hasBreakpoint(sum), func(hits int) {
			for n := 0; n < hits; n++ {
				sum(uint64(n), text)
			}
		}},
		"pair": {probes.FinishEnabled, func(hits int) {
			for n := 0; n < hits; n += 2 {
				probes.Begin(uint64(n))
				probes.Finish(uint64(n))
			}
		}},
	}
	loop, ok := loops[*name]
	if !ok {
		fmt.Fprintf(os.Stderr, "fire: unknown probe %q\n", *name)
		os.Exit(2)
	}
	if *pause > 0 {
		for {
			loop.fire(2)
			time.Sleep(*pause)
		}
	}
	for end := time.Now().Add(*timeout); !loop.enabled(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "fire: no tracer attached")
			os.Exit(1)
		}
	}
	time.Sleep(*settle)
	loop.fire(min(1000, *hits))
	var wait sync.WaitGroup
	start := time.Now()
	for range *goroutines {
		wait.Go(func() { loop.fire(*hits) })
	}
	wait.Wait()
	fmt.Println(float64(time.Since(start).Nanoseconds()) / float64(*hits))
}
