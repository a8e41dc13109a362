// Pairs starts and ends operations in many goroutines. Some operations have no start or no end.
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
	goroutines := flag.Int("goroutines", 4, "number of goroutines")
	per := flag.Int("per", 100, "operations of each goroutine")
	linger := flag.Duration("linger", 0, "time to stay after the last operation")
	flag.Parse()

	// Several tracers attach one after the other. The test sends SIGINT when all have attached.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	fmt.Println("ready")
	select {
	case <-interrupts:
	case <-time.After(30 * time.Second):
		fmt.Fprintln(os.Stderr, "no SIGINT within 30 seconds")
		os.Exit(1)
	}
	var wait sync.WaitGroup
	for g := 0; g < *goroutines; g++ {
		wait.Add(1)
		go func(g int) {
			defer wait.Done()
			for n := 0; n < *per; n++ {
				runOperation(uint64(g**per+n), n)
			}
		}(g)
	}
	wait.Wait()
	fmt.Fprintln(os.Stderr, "done")
	time.Sleep(*linger)
}

var kinds = []string{"read", "write", "sync"}

// runOperation fires the probes of an operation. It omits the start if the last digit of n is 7,
// and the end if it is 5.
func runOperation(id uint64, n int) {
	if n%10 != 7 {
		ops.Begin(id, kinds[n%len(kinds)])
	}
	// Sleeping sometimes moves the goroutine to another thread.
	time.Sleep(time.Microsecond)
	if n%10 != 5 {
		ops.End(id, int32(200+n%2))
	}
}
