// Package gate tests the code that a probe is compiled to, and that probes allocate nothing.
package gate

import (
	"testing"

	"usdt.local/tests/probes"
)

// fireLazily fires a probe with an argument that is expensive to compute.
//
//go:noinline
func fireLazily(self uint64, data []byte) uint64 {
	probes.HitFunc(func(fire func(self, n uint64, text string)) {
		sum := uint64(0)
		for _, b := range data {
			sum += uint64(b)
		}
		fire(self, sum, "text")
	})
	return self + 1
}

// The suite runs this test with and without a tracer.
func TestProbesDoNotAllocate(t *testing.T) {
	data := []byte("data")
	allocations := testing.AllocsPerRun(1000, func() {
		probes.Hit(1, 2, "text")
		probes.MoreTypes(1, 2, 3, true, "a C string that fits the stack", data, nil, nil)
		probes.Twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		fireLazily(1, data)
	})
	if allocations != 0 {
		t.Errorf("%v allocations per run", allocations)
	}
	t.Log("enabled:", probes.HitEnabled())
}
