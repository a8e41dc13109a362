// Package usdtslog has a handler for log/slog that fires a static probe (USDT) for each record.
//
// While a tracer is attached to slog:record, records of every level reach the probe, debug records too, without a change
// of the program's configuration; the handler behind it gets those of its own level, as always.
//
// While nobody traces, a record costs less than another handler in between would, as it is not copied on its way to the
// handler behind, and no allocation.
package usdtslog

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"usdt.local/go-stubs/internal/relay"
	"usdt.local/go-stubs/usdtslog/internal/probes"
)

// Handler returns a handler that fires slog:record and passes records to next.
//
// Go's own default handler writes through package log, which slog.SetDefault makes write through the new default: behind
// a handler that becomes the default, this one's or any other, it waits for itself (go.dev/issue/62424). Give such a
// handler one that writes somewhere, such as slog.NewTextHandler(os.Stderr, nil).
func Handler(next slog.Handler) slog.Handler {
	return (&handler{next: next}).wrapped()
}

type handler struct {
	next  slog.Handler
	gates [2]relay.Gate
	// What WithAttrs and WithGroup were called with, in order.
	steps []step
}

// step is attributes, or the name of a group that what follows belongs to.
type step struct {
	attrs []slog.Attr
	group string
}

var handlers = relay.Of[slog.Handler](&handler{}, relay.Code((*handler).Enabled), relay.Code((*handler).Handle))

// wrapped is the handler as others see it.
func (h *handler) wrapped() slog.Handler {
	record := probes.Gate()
	h.gates[0] = handlers.Gate(0, record, record)
	let := (*uint16)(unsafe.Pointer(&asked))
	h.gates[1] = handlers.Gate(1, let, let)
	return handlers.Wrapped(h)
}

// asked says whether records may have come through although they are below the level of the handler behind. It is 0 or 1: the
// gate sees its lower half.
var asked uint32

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	if probes.RecordEnabled() {
		return ask()
	}
	return h.next.Enabled(ctx, level)
}

func ask() bool {
	atomic.StoreUint32(&asked, 1)
	return true
}

func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	// Once a tracer was there, a record may have been let in for it that is none of the other handler's.
	if atomic.LoadUint32(&asked) != 0 {
		return h.sifted(ctx, record)
	}
	return h.next.Handle(ctx, record)
}

func (h *handler) sifted(ctx context.Context, record slog.Record) error {
	if probes.RecordEnabled() {
		h.fire(ctx, record)
	}
	if h.next.Enabled(ctx, record.Level) {
		return h.next.Handle(ctx, record)
	}
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(h.next.WithAttrs(attrs), step{attrs: attrs})
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return handlers.Wrapped(h)
	}
	return h.with(h.next.WithGroup(name), step{group: name})
}

func (h *handler) with(next slog.Handler, last step) slog.Handler {
	return (&handler{next: next, steps: append(h.steps[:len(h.steps):len(h.steps)], last)}).wrapped()
}

// buffers keeps what attributes are written into.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (h *handler) fire(ctx context.Context, record slog.Record) {
	frame := runtime.Frame{}
	if record.PC != 0 {
		frame, _ = runtime.CallersFrames([]uintptr{record.PC}).Next()
	}
	probes.Record(int64(record.Level), record.Message, h.attributes(ctx, record), frame.File, int32(frame.Line))
}

// attributes renders what the record and the handler have beside time, level and message.
func (h *handler) attributes(ctx context.Context, record slog.Record) string {
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	// Level and message, which a handler writes first, have arguments of their own; a record without time has none.
	own := 0
	without := func(_ []string, attr slog.Attr) slog.Attr {
		if own > 0 {
			own--
			return slog.Attr{}
		}
		return attr
	}
	text := slog.Handler(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: record.Level, ReplaceAttr: without}))
	for _, step := range h.steps {
		if step.group != "" {
			text = text.WithGroup(step.group)
		} else {
			text = text.WithAttrs(step.attrs)
		}
	}
	bare := slog.NewRecord(time.Time{}, record.Level, "", 0)
	record.Attrs(func(attr slog.Attr) bool {
		bare.AddAttrs(attr)
		return true
	})
	own = 2
	// A buffer takes every write.
	_ = text.Handle(ctx, bare)
	return string(bytes.TrimSpace(buffer.Bytes()))
}
