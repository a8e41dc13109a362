// Package gate measures what a probe costs: switched off, and called with a tracer's semaphore counted up.
package gate

import (
	"testing"

	"usdt.local/tests/probes"
)

// BenchmarkEmptyLoop is what the others are compared with.
func BenchmarkEmptyLoop(b *testing.B) {
	for i := 0; i < b.N; i++ {
	}
}

// BenchmarkOff is the loop with a probe of three arguments, one a string, in it.
func BenchmarkOff(b *testing.B) {
	for i := 0; i < b.N; i++ {
		probes.Hit(1, uint64(i), "text")
	}
}

// BenchmarkOffTwelve is the loop with a probe of twelve arguments in it.
func BenchmarkOffTwelve(b *testing.B) {
	for i := 0; i < b.N; i++ {
		probes.Twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, int32(i))
	}
}

// lazily has an argument that is costly to compute.
//
//go:noinline
func lazily(self uint64, data []byte) uint64 {
	probes.HitFunc(func(fire func(self, n uint64, text string)) {
		sum := uint64(0)
		for _, b := range data {
			sum += uint64(b)
		}
		fire(self, sum, "text")
	})
	return self + 1
}

// BenchmarkOffFunc is the loop with a probe fired by a closure in it.
func BenchmarkOffFunc(b *testing.B) {
	for i := 0; i < b.N; i++ {
		probes.HitFunc(func(fire func(self, n uint64, text string)) { fire(1, uint64(i), "text") })
	}
}

// TestNoAllocation holds whether or not a tracer is attached: the tests run it both ways.
func TestNoAllocation(t *testing.T) {
	data := []byte("data")
	allocations := testing.AllocsPerRun(1000, func() {
		probes.Hit(1, 2, "text")
		probes.MoreTypes(1, 2, 3, true, "a C string that fits the stack", data, nil, nil)
		probes.Twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		lazily(1, data)
	})
	if allocations != 0 {
		t.Errorf("%v allocations a run", allocations)
	}
	t.Log("enabled:", probes.HitEnabled())
}
