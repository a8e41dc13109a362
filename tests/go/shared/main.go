// Shared is a library for C programs with a probe in it.
package main

import "C"

import (
	"strconv"

	"usdt.local/tests/probes"
)

//export Fire
func Fire(n int) {
	probes.Hit(0, uint64(n), "from C")
}

// Tick fires as the program of that name does.
//
//export Tick
func Tick(n int) {
	FireFor(n, "tick "+strconv.Itoa(n))
}

// FireFor is what a host looks up where this is a plugin.
func FireFor(n int, text string) {
	probes.Hit(0, uint64(n), text)
}

func main() {}
