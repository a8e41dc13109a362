// Pairs begins and ends operations on many goroutines at once, some without the other end, and says how many.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"usdt.local/tests/ops"
)

func main() {
	goroutines := flag.Int("goroutines", 4, "goroutines that work")
	per := flag.Int("per", 100, "operations of each")
	linger := flag.Duration("linger", 0, "how long to stay after the last one")
	flag.Parse()

	// Several tracers attach one after the other; the test says when all are there.
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt)
	fmt.Println("ready")
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		fmt.Fprintln(os.Stderr, "nobody asked")
		os.Exit(1)
	}
	var wait sync.WaitGroup
	for g := 0; g < *goroutines; g++ {
		wait.Add(1)
		go func(g int) {
			defer wait.Done()
			for n := 0; n < *per; n++ {
				operation(uint64(g**per+n), n)
			}
		}(g)
	}
	wait.Wait()
	fmt.Fprintln(os.Stderr, "done")
	time.Sleep(*linger)
}

var kinds = []string{"read", "write", "sync"}

// operation lacks its end when n ends in 5, and its beginning when it ends in 7.
func operation(id uint64, n int) {
	if n%10 != 7 {
		ops.Begin(id, kinds[n%len(kinds)])
	}
	// The goroutine moves to another thread now and then.
	time.Sleep(time.Microsecond)
	if n%10 != 5 {
		ops.End(id, int32(200+n%2))
	}
}
