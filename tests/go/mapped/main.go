// Mapped maps the file of descriptor 3 and prints "mapped", then waits to be killed.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	// The collector would read the list of goroutines, which the test replaces.
	debug.SetGCPercent(-1)
	if _, err := syscall.Mmap(3, 0, 1<<20, syscall.PROT_READ, syscall.MAP_PRIVATE); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("mapped")
	time.Sleep(time.Hour)
}
