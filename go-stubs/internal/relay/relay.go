//go:build gc && (amd64 || arm64)

package relay

import (
	"reflect"
	"runtime"
	"unsafe"
)

// A function in assembly that Go calls has a wrapper that copies its arguments, so the jumps are not methods: they stand in
// copies of the wrappers' method tables, in the place of methods in Go that do the same. What tables and calls are
// like is no promise of Go's, so both are tried before the first jump; where they are otherwise, wrappers stay as they are.

// value is a variable of an interface type with methods (internal/abi.NonEmptyInterface). Its table is not looked at by the
// collector.
type value struct {
	table   *table
	pointer unsafe.Pointer
}

// table begins a method table (internal/abi.ITab): the methods' code follows, in the order of their names.
type table struct {
	face    uintptr
	dynamic uintptr
	hash    uint32
	code    [0]uintptr
}

// head is so many words in front of the methods.
const head = int(unsafe.Offsetof(table{}.code) / unsafe.Sizeof(uintptr(0)))

// copied is the method table, with so many methods.
func (v *value) copied(methods int) []uintptr {
	return append([]uintptr(nil), unsafe.Slice((*uintptr)(unsafe.Pointer(v.table)), head+methods)...)
}

// use takes another table, which has to live as long as the value.
func (v *value) use(words []uintptr) {
	v.table = (*table)(unsafe.Pointer(&words[0]))
}

// Table makes wrappers of one type pass calls on by jumps.
type Table[I any] struct {
	// words is the method table, nil where there are no jumps.
	words []uintptr
	// code is the methods in Go.
	code []uintptr
}

// Of makes a table for wrappers of the type of one, whose first methods by name, one or two, are these.
func Of[I any](wrapper I, methods ...uintptr) Table[I] {
	out := Table[I]{code: methods}
	face := reflect.TypeOf((*I)(nil)).Elem()
	if !works || face.NumMethod() < len(methods) || len(methods) > len(jumps) {
		return out
	}
	words := (*value)(unsafe.Pointer(&wrapper)).copied(face.NumMethod())
	for i, method := range methods {
		if words[head+i] != method {
			return out
		}
		words[head+i] = jumps[i]
	}
	out.words = words
	return out
}

// Jumps reports whether wrappers of this table jump.
func (t *Table[I]) Jumps() bool { return t.words != nil }

// Gate is that of a method: it is called where one of the words is not 0.
func (t *Table[I]) Gate(method int, first, second *uint16) Gate {
	return Gate{first, second, t.code[method]}
}

// Wrapped is the wrapper, with jumps where they are possible. The table has to live as long as the program.
func (t *Table[I]) Wrapped(wrapper I) I {
	if t.words != nil {
		(*value)(unsafe.Pointer(&wrapper)).use(t.words)
	}
	return wrapper
}

// Code is where a function begins; for a method, of a pointer's method expression.
func Code[F any](function F) uintptr {
	return **(**uintptr)(unsafe.Pointer(&function))
}

// Where jumps and note begin, as they are; what Go has of them is wrappers.
var (
	jumps  [2]uintptr
	noteAt uintptr
)

func jump0()
func jump1()
func note()

// noted is the receiver that note was called with.
var noted uintptr

// works is whether receivers are where jumps look for them, and tables are what they are taken for.
var works = tried()

type tester interface{ try(*int) int }

// trial has a size: values without one may share an address.
type trial struct{ _ int }

func (t *trial) try(*int) int { return 0 }

func tried() bool {
	one := &trial{}
	var wrapper tester = one
	own := (*value)(unsafe.Pointer(&wrapper))
	if own.pointer != unsafe.Pointer(one) {
		return false
	}
	words := own.copied(1)
	if words[head] != Code((*trial).try) {
		return false
	}
	words[head] = noteAt
	own.use(words)
	worked := wrapper.try(new(int)) == 0 && noted == uintptr(unsafe.Pointer(one))
	runtime.KeepAlive(words)
	return worked
}
