//go:build gc && (amd64 || arm64)

package usdtslog

import (
	"context"
	"log/slog"
	"unsafe"
)

// A method in Go that passes its arguments on copies those that are not in registers: of a record 288 bytes, which takes
// longer than all the rest of a handler that nobody asks anything. The compiler does without where the method behind is
// promoted from an embedded pointer: then it jumps there, arguments and return address as they are. relay (relay_amd64.s)
// is such a jump with a test before it. As a function in assembly that Go calls gets a wrapper that copies, it stands
// in the method table of the handlers that this package hands out, instead of (*handler).Handle, which does the same.
//
// Where tables or calls are not what this expects (they are no promise of Go's), handlers keep the method in Go.

// methods is the method table of a slog.Handler (internal/abi.ITab): the methods' code in the order of their names.
type methods struct {
	face    uintptr
	dynamic uintptr
	hash    uint32
	enabled uintptr
	handle  uintptr
	attrs   uintptr
	group   uintptr
}

// value is a variable of type slog.Handler (internal/abi.NonEmptyInterface).
type value struct {
	methods *methods
	pointer unsafe.Pointer
}

var (
	// relayed is the table with relay in it, nil where it cannot be.
	relayed *methods
	// handle is the code of (*handler).Handle.
	handle uintptr
	// noted is the receiver that note was called with.
	noted uintptr
)

// Where the functions begin, as they are; what Go has of them is wrappers.
var relayAt, noteAt uintptr

func relay()
func note()

// table is outside of what is collected, as all tables are.
var table methods

func init() {
	probe := &handler{}
	var asHandler slog.Handler = probe
	own := (*value)(unsafe.Pointer(&asHandler))
	method := (*handler).Handle
	code := **(**uintptr)(unsafe.Pointer(&method))
	if own.pointer != unsafe.Pointer(probe) || own.methods.handle != code {
		return
	}
	handle, table = code, *own.methods
	table.handle = noteAt
	own.methods = &table
	if asHandler.Handle(context.Background(), slog.Record{}) != nil || noted != uintptr(unsafe.Pointer(probe)) {
		return
	}
	table.handle = relayAt
	relayed = &table
}

// handled is the handler, with the jump where that can be.
func handled(h *handler) (out slog.Handler) {
	out = h
	if relayed != nil {
		(*value)(unsafe.Pointer(&out)).methods = relayed
	}
	return out
}
