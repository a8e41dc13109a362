// Values calls functions with parameters and results of many types, always with the same values.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"time"
	"unsafe"
)

var sink interface{}

//go:noinline
func integers(a int8, b uint8, c int16, d uint16, e int32, f uint32, g int64, h uint64, i int, j uintptr) (int8, uint8, int16, uint16, int32, uint32, int64, uint64, int, uintptr) {
	return a + 1, b + 1, c + 1, d + 1, e + 1, f + 1, g + 1, h + 1, i + 1, j + 1
}

// words needs more registers than there are.
//
//go:noinline
func words(a, b, c, d, e, f, g, h, i, j, k, l int) (int, int, int, int, int, int, int, int, int, int, int, int) {
	return l, k, j, i, h, g, f, e, d, c, b, a
}

//go:noinline
func joined(a string, b bool, c string) (string, bool) {
	if b {
		return c + a, len(a) > 3
	}
	return a, len(c) > 3
}

var errPlain = errors.New("plain")

type custom int

func (c custom) Error() string { return "custom " + strconv.Itoa(int(c)) }

//go:noinline
func failures(kind int, cause error) error {
	switch kind {
	case 0:
		return nil
	case 1:
		return errPlain
	case 2:
		return fmt.Errorf("wrapped: %w", errPlain)
	case 3:
		return &fs.PathError{Op: "open", Path: "x", Err: errPlain}
	case 4:
		return custom(4)
	}
	return cause
}

//go:noinline
func named(text string) (count int, err error) {
	count, err = strconv.Atoi(text)
	if err != nil {
		return
	}
	return count * 2, nil
}

// deferred has results that deferred functions change.
//
//go:noinline
func deferred(n int) (result int, text string, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			result, err = -1, fmt.Errorf("recovered %v", problem)
		}
		text += "!"
	}()
	if n > 1 {
		panic("n")
	}
	return n + 10, "text", nil
}

// mixed has floating-point parameters between others, which use other registers.
//
//go:noinline
func mixed(a int, x float64, b string, y float32, c bool, z complex128, d int16) (float64, int, string) {
	if c {
		return x + float64(y), a + int(d), b
	}
	return real(z), int(d), b + b
}

// spilled keeps its parameters across calls.
//
//go:noinline
func spilled(a int, b string, c error, d bool) (int, string, error, bool) {
	sink = a
	x := fmt.Sprint(a, b)
	sink = x
	return len(x), b, c, !d
}

type inner struct {
	count int
	flag  bool
	small int8
}

type pair struct {
	first, second string
	n             int
}

//go:noinline
func structs(p pair, i inner, arr [1]int, big [3]int64, after int) (pair, int, bool) {
	return pair{p.second, p.first, p.n + after}, i.count + arr[0] + int(big[2]), i.flag
}

type point struct{ x, y int }

//go:noinline
func (p *point) Move(dx, dy int) int {
	p.x += dx
	p.y += dy
	return p.x + p.y
}

//go:noinline
func (p point) Sum(scale int) int { return (p.x + p.y) * scale }

//go:noinline
func variadic(prefix string, numbers ...int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total + len(prefix)
}

type level int

const (
	low level = iota
	high
)

//go:noinline
func constants(l level, wait time.Duration, month time.Month) (level, time.Duration) {
	return l + 1, wait * 2
}

//go:noinline
func recursive(n int, text string) (int, string) {
	if n == 0 {
		return 0, text
	}
	count, rest := recursive(n-1, text+strconv.Itoa(n))
	return count + 1, rest
}

// padded has parameters on the stack that need padding.
//
//go:noinline
func padded(big [2]int8, a int8, s [3]string, b int16, t [2]int32, c int64, d bool) (int, bool) {
	return int(a) + int(b) + int(c) + int(big[1]) + int(t[1]) + len(s[2]), d
}

//go:noinline
func empty(_ int, a struct{}, _ string, b int, c [0]int, d string) (_ int, s string) {
	return b, d
}

//go:noinline
func captures(base int) func(int, string) (int, string) {
	return func(n int, text string) (int, string) {
		base += n
		return base, text + "."
	}
}

//go:noinline
func keep[T any](n int, value T, text string) (T, int) {
	sink = text
	return value, n + 1
}

// Embedded is embedded in outer.
type Embedded struct{ depth int16 }

type outer struct {
	name  string
	inner inner
	Embedded
	pointer *outer
	list    [4]uint16
	grid    [2][2]int32
	names   []string
	table   map[string]int
	err     error
	wait    time.Duration
	number  *uint32
}

//go:noinline
func paths(o *outer, text []byte, value outer) int { return len(text) + len(value.name) + len(o.name) }

type record struct {
	when  time.Time
	names []string
	items []pair
	cause error
	any   interface{}
	text  string
}

//go:noinline
func times(when time.Time, r *record) (time.Time, bool) { return r.when, when.IsZero() }

//go:noinline
func reached(r *record, items []inner, v interface{}, cause error) int {
	return len(items) + len(r.names)
}

// withMonotonic returns a time with a reading of the monotonic clock that is the same in each run.
func withMonotonic() time.Time {
	const since1885 = 4395000000
	when := time.Time{}
	words := (*[2]uint64)(unsafe.Pointer(&when))
	words[0], words[1] = 1<<63|since1885<<30|123456789, 42
	return when
}

func main() {
	for _, when := range []time.Time{{}, withMonotonic(), time.Unix(1709210096, 789000001).UTC(), time.Date(1600, 3, 1, 0, 0, 0, 7, time.UTC)} {
		sink, _ = times(when, &record{when: withMonotonic()})
	}
	for n := 0; n < 4; n++ {
		r := record{withMonotonic(), []string{"a", "bc", "def", "g"}[:n], []pair{{"l", "r", n}}, nil, level(n), "text"}
		var cause error = &fs.PathError{Op: "open", Path: "path" + strconv.Itoa(n), Err: errPlain}
		r.cause = cause
		if n == 2 {
			cause, r.any = custom(2), &pair{"x", "y", 2}
		}
		// Memory that was never written to may not be there when a probe reads it.
		items := make([]inner, n)
		for i := range items {
			items[i].count = n * (i + 1)
		}
		sink = reached(&r, items, &point{n, -n}, cause)
	}
	for i := -1; i < 3; i++ {
		sink, _, _, _, _, _, _, _, _, _ = integers(int8(-i), uint8(i), int16(i*1000), uint16(-i), math.MinInt32+int32(i), uint32(i), math.MaxInt64-int64(i), uint64(i), i, uintptr(i))
		sink, _, _, _, _, _, _, _, _, _, _, _ = words(i, 2, 3, -4, 5, 6, 7, 8, 9, 10, -11, 12*i)
	}
	for _, text := range []string{"", "a", "text", "longer than a short one, and longer than thirty-two bytes"} {
		sink, _ = joined(text, len(text) > 1, "other")
		sink, _ = named(text)
		sink, _ = recursive(len(text)%5, text)
	}
	sink, _ = named("21")
	sink, _ = named("-7")
	for kind := 0; kind < 6; kind++ {
		sink = failures(kind, custom(kind))
		sink = failures(kind, nil)
		sink = failures(kind, errPlain)
	}
	for n := 0; n < 4; n++ {
		sink, _, _ = deferred(n)
		sink, _, _ = mixed(n, 1.5, "m", 2.5, n%2 == 0, complex(3, 4), int16(-n))
		sink, _, _, _ = spilled(n, "kept", errPlain, n%2 == 0)
		sink, _, _ = structs(pair{"a", "b", n}, inner{n, n > 1, 3}, [1]int{n}, [3]int64{1, 2, int64(n)}, 5)
		p := point{n, 1}
		sink = p.Move(n, -1)
		sink = p.Sum(n)
		sink = variadic("v", n, n+1, n+2)
		sink, _ = constants(level(n%2), time.Duration(n)*time.Millisecond, time.March)
		sink, _ = padded([2]int8{1, int8(n)}, int8(n), [3]string{"", "", "xyz"}, int16(-n), [2]int32{0, int32(n)}, 1<<40, n > 1)
		sink, _ = empty(1, struct{}{}, "", n, [0]int{}, "d")
		call := captures(n)
		sink, _ = call(n, "c")
		sink, _ = keep(n, n*3, "t")
		sink, _ = keep(n, "g", "t")
	}
	number := uint32(77)
	o := outer{
		name: "outer", inner: inner{-5, true, -3}, Embedded: Embedded{-9}, list: [4]uint16{1, 2, 3, 4},
		grid: [2][2]int32{{1, 2}, {3, 4}}, names: make([]string, 3, 8), table: map[string]int{"a": 1, "b": 2},
		err: errPlain, wait: time.Second, number: &number,
	}
	o.pointer = &outer{name: "nested", inner: inner{6, true, 0}}
	for n := 0; n < 3; n++ {
		o.inner.count += n
		sink = paths(&o, []byte("text")[:n], o)
	}
	// The tracer may still read the types of errors.
	time.Sleep(300 * time.Millisecond)
}
