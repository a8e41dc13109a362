// Package flow returns from functions in all ways that there are.
package flow

import (
	"fmt"
	"runtime"
	"sync"
)

var mu sync.Mutex

// Locked has a deferred call of its own.
func Locked(n int) (result int) {
	mu.Lock()
	defer mu.Unlock()
	defer func() { result *= 2 }()
	return n
}

// Recovers panics and recovers.
func Recovers(n int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recovered %v", r)
		}
	}()
	Panics(n)
	return nil
}

// Panics panics for positive numbers.
func Panics(n int) int {
	if n > 0 {
		panic(n)
	}
	return n
}

// Exits ends its goroutine for positive numbers.
func Exits(n int) int {
	if n > 0 {
		runtime.Goexit()
	}
	return n
}

// Line returns the line of its call of runtime.Caller, and that of its caller.
func Line() (own, caller int, name string) {
	_, _, own, _ = runtime.Caller(0)
	pc, _, caller, _ := runtime.Caller(1)
	return own, caller, runtime.FuncForPC(pc).Name()
}

// Many returns at more places than the compiler's limit for open-coded defers.
func Many(n int, _ string) (string, error) {
	switch n {
	case 0:
		return "zero", nil
	case 1:
		return "one", nil
	case 2:
		return "two", nil
	case 3:
		return "three", nil
	case 4:
		return "four", nil
	case 5:
		return "five", nil
	case 6:
		return "six", nil
	case 7:
		return "seven", nil
	case 8:
		return "eight", nil
	case 9:
		return "nine", nil
	case 10:
		return "ten", nil
	case 11:
		return "eleven", nil
	case 12:
		return "twelve", nil
	case 13:
		return "thirteen", nil
	case 14:
		return "fourteen", nil
	}
	if n < 0 {
		panic("negative")
	}
	return "", fmt.Errorf("no word for %d", n)
}

// Deep panics below two frames, for its traceback.
func Deep(n int) {
	if n == 0 {
		panic("deep")
	}
	Deep(n - 1)
}

// A Counter has methods with value and pointer receivers.
type Counter struct{ n int }

// Add adds to the counter.
func (c *Counter) Add(n int) int {
	mu.Lock()
	c.n += n
	mu.Unlock()
	return c.n
}

// Value returns the value of a copy.
func (c Counter) Value() string { return fmt.Sprint(c.n) }
