// Shared is a library for C programs with a probe in it.
package main

import "C"

import (
	"strconv"

	"usdt.local/tests/probes"
)

// Tick fires as the program of that name does, for C.
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
