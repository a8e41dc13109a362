// Shared is a shared library, for C programs and as a Go plugin, that fires a probe.
package main

import "C"

import (
	"strconv"

	"usdt.local/tests/probes"
)

// Tick fires the probe as the program ticks does. C programs call it.
//
//export Tick
func Tick(n int) {
	FireFor(n, "tick "+strconv.Itoa(n))
}

// FireFor fires the probe. Hosts of the plugin look it up.
func FireFor(n int, text string) {
	probes.Hit(0, uint64(n), text)
}

// main is required by the build modes c-shared and plugin, but never runs.
func main() {}
