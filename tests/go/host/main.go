// Host loads a plugin and calls it until it is ended.
package main

import (
	"fmt"
	"os"
	"plugin"
	"strconv"
	"time"
)

func main() {
	opened, err := plugin.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	symbol, err := opened.Lookup("FireFor")
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
