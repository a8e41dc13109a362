// Host loads a Go plugin and calls its function every millisecond until it is killed.
package main

import (
	"fmt"
	"os"
	"plugin"
	"strconv"
	"time"
)

func main() {
	loaded, err := plugin.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	symbol, err := loaded.Lookup("FireFor")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fire := symbol.(func(int, string))
	for n := 0; ; n++ {
		fire(n, "tick "+strconv.Itoa(n))
		time.Sleep(time.Millisecond)
	}
}
