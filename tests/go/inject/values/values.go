// Package values has a function for each kind of value that an injected probe shows.
package values

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Key is a named string.
type Key string

// Level is a named integer.
type Level int8

// Shape is an interface that several types implement.
type Shape interface{ Sides() int }

// Square implements Shape.
type Square struct{}

// Sides returns 4.
func (Square) Sides() int { return 4 }

// Request has fields behind pointers.
type Request struct {
	Method string
	URL    *url.URL
}

// ErrEmpty is returned for an empty key.
var ErrEmpty = errors.New("empty key")

var sink int

//go:noinline
func use(n int) { sink += n }

// Integers takes integers of all sizes.
func Integers(a int8, b int16, c int32, d int64, e int, f uint8, g uint16, h uint32, i uint64, j Level) (sum int64) {
	use(int(a))
	return int64(a) + int64(b) + int64(c) + d + int64(e) + int64(f) + int64(g) + int64(h) + int64(i) + int64(j)
}

// Floats takes floating-point numbers and a boolean.
func Floats(a float32, b float64, negate bool) (float64, bool) {
	use(1)
	if negate {
		return -b - float64(a), true
	}
	return b + float64(a), false
}

// Strings takes strings, bytes and a duration.
func Strings(key Key, data []byte, ttl time.Duration) (string, []byte, error) {
	use(len(data))
	if key == "" {
		return "", nil, ErrEmpty
	}
	return strings.ToUpper(string(key)), data[:1], nil
}

// Sizes takes values that are shown by their length or their type.
func Sizes(list []int, table map[string]int, shape Shape, err error, rest ...string) (out []string, _ Shape) {
	use(len(list))
	return append(rest, fmt.Sprint(err)), shape
}

// Path takes a pointer, whose fields a rule shows.
func Path(r *Request) int {
	use(2)
	if r == nil || r.URL == nil {
		return 0
	}
	return len(r.URL.Path)
}

// Sides calls a method of an argument in a rule.
func Sides(s Shape) int {
	use(3)
	if s == nil {
		return -1
	}
	return s.Sides()
}

// Shadow has parameters with the names of predeclared types and of imported packages.
func Shadow(string, len int, url *url.URL, _ bool) (nil int) {
	use(string)
	return string + len
}

// Tiny is inlined by the compiler.
func Tiny(n int) int { return n + 1 }

// Excluded matches a pattern, and is excluded.
func Excluded(n int) { use(n) }

// State is an integer with constants.
type State int8

// States; closed is not exported.
const (
	StateIdle State = iota
	StateActive
	closed
	stateFirst  State = StateIdle
	StateBroken State = -1
)

// Enums takes integers with constants.
func Enums(state State, month time.Month, level Level) (next State) {
	use(int(month) + int(level))
	if state == closed || state == stateFirst {
		return StateActive
	}
	return state + 1
}
