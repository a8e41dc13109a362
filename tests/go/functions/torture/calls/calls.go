// Package calls has functions that a tracer attaches to while they do what Go programs rarely do all
// at once. Each function counts its calls. Callers count what returned, so that a call that a panic
// or runtime.Goexit ends is known as such.
//
// The package has no other functions, so that a glob for it matches exactly those that are counted.
package calls

import (
	"runtime"

	"usdt.local/functions/torture/counts"
)

// The counts of each function.
var (
	Recursing, Growing, Evens, Odds, Leaves, Spins, Allocations, Blocks, Parks, Stacks, Reflections counts.Function
	Methods, Generics, Panicking, Catches, Recoveries, Repanics, Twice, Retwice, Exits              counts.Function
)

// Recurse returns the sum of the numbers up to depth.
//
//go:noinline
func Recurse(depth int) int {
	Recursing.Called()
	if depth == 0 {
		return 0
	}
	sum := Recurse(depth-1) + depth
	Recursing.Returned()
	return sum
}

// Grow has a large frame, so that the stack moves while its callers run. It returns the sum of the
// depths modulo 256.
//
//go:noinline
func Grow(depth int) byte {
	var frame [700]byte
	Growing.Called()
	frame[depth%700] = byte(depth)
	if depth == 0 {
		return frame[depth]
	}
	frame[(depth+1)%700] = Grow(depth - 1)
	Growing.Returned()
	return frame[depth%700] + frame[(depth+1)%700]
}

// Even and Odd call each other.
//
//go:noinline
func Even(n int) bool {
	Evens.Called()
	if n == 0 {
		return true
	}
	result := Odd(n - 1)
	Odds.Returned()
	return result
}

// Odd is the opposite of Even.
//
//go:noinline
func Odd(n int) bool {
	Odds.Called()
	if n == 0 {
		return false
	}
	result := Even(n - 1)
	Evens.Returned()
	return result
}

// Leaf has neither a stack check nor a frame.
//
//go:noinline
func Leaf(a, b int) int {
	Leaves.Called()
	return a*31 + b
}

// Spin is a loop without calls, which only a signal preempts.
//
//go:noinline
func Spin(rounds int) uint64 {
	Spins.Called()
	x := uint64(rounds) | 1
	for i := 0; i < rounds; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// Allocate returns memory that is garbage soon.
//
//go:noinline
func Allocate(size int) []*[64]byte {
	Allocations.Called()
	out := make([]*[64]byte, size)
	for i := range out {
		out[i] = new([64]byte)
		out[i][i%64] = byte(i)
	}
	return out
}

// Block waits at the bottom of a deep stack, which the garbage collector may shrink.
//
//go:noinline
func Block(depth int, wait chan int) int {
	Blocks.Called()
	if depth == 0 {
		return <-wait
	}
	value := Block(depth-1, wait)
	Blocks.Returned()
	return value
}

// Park never returns. It sends to parked when all of its calls have begun.
//
//go:noinline
func Park(depth int, parked chan<- bool) int {
	Parks.Called()
	if depth == 0 {
		parked <- true
		select {}
	}
	return Park(depth-1, parked) + 1
}

// Stack has more parameters and results than there are registers.
//
//go:noinline
func Stack(a [8]int, b string, c, d, e, f, g, h, i, j int) ([8]int, string, int) {
	Stacks.Called()
	a[c&7] += d + e + f + g + h + i + j
	return a, b, c
}

// Reflect is called by reflection.
//
//go:noinline
func Reflect(a int, b string) string {
	Reflections.Called()
	if a > 0 {
		return b
	}
	return ""
}

// A Number has a method that is called through an interface.
type Number int

// Add adds numbers.
//
//go:noinline
func (n *Number) Add(m int) int {
	Methods.Called()
	*n += Number(m)
	return int(*n)
}

// Generic returns its argument.
//
//go:noinline
func Generic[T any](value T, depth int) T {
	Generics.Called()
	if depth > 0 {
		value = Generic(value, depth-1)
		Generics.Returned()
	}
	return value
}

// Panic panics some calls deep.
//
//go:noinline
func Panic(depth int) int {
	Panicking.Called()
	if depth == 0 {
		panic("panics")
	}
	return Panic(depth-1) + 1
}

// Catch runs deferred, and recovers.
//
//go:noinline
func Catch() {
	Catches.Called()
	if recover() == nil {
		panic("no panic")
	}
	Catches.Returned()
}

// Recover recovers from a panic. The stack has another depth for each value of skip, which it returns.
//
//go:noinline
func Recover(depth, skip int) (result int) {
	Recoveries.Called()
	if skip > 0 {
		result = Recover(depth, skip-1)
		Recoveries.Returned()
		return result + 1
	}
	defer Catch()
	return Panic(depth)
}

// Repanic runs deferred, and replaces the panic that runs it by another one.
//
//go:noinline
func Repanic() {
	Repanics.Called()
	panic("again")
}

// PanicTwice panics again while the first panic unwinds.
//
//go:noinline
func PanicTwice(depth int) int {
	Twice.Called()
	defer Repanic()
	return Panic(depth)
}

// RecoverTwice recovers from the second panic.
//
//go:noinline
func RecoverTwice(depth int) (result int) {
	Retwice.Called()
	defer Catch()
	return PanicTwice(depth)
}

// Exit ends the goroutine some calls deep.
//
//go:noinline
func Exit(depth int) int {
	Exits.Called()
	if depth == 0 {
		runtime.Goexit()
	}
	return Exit(depth-1) + 1
}
