// Package usdtslog has a handler for log/slog that fires a static probe (USDT) for each record.
//
// While a tracer is attached to slog:record, records of every level reach the probe, debug records too, without a change
// of the program's configuration. The wrapped handler still gets only the records that it is enabled for.
//
// While no tracer is attached, a record costs two loads and tests more than a wrapper that only passes it on, and no
// allocation.
package usdtslog

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"usdt.local/go-stubs/usdtslog/internal/probes"
)

// Handler returns a handler that fires slog:record and passes records to next.
//
// Do not wrap slog.Default().Handler() in a handler that becomes the default: it writes through package log, which
// slog.SetDefault makes write through the new default, so it deadlocks with any wrapper (go.dev/issue/62424). Wrap a
// handler that writes somewhere, such as slog.NewTextHandler(os.Stderr, nil).
func Handler(next slog.Handler) slog.Handler { return &handler{next: next} }

type handler struct {
	next slog.Handler
	// attrsAndGroups holds what WithAttrs and WithGroup were called with, in order.
	attrsAndGroups []attrsOrGroup
}

// attrsOrGroup is the argument of one call of WithAttrs, or of WithGroup if group is not empty.
type attrsOrGroup struct {
	attrs []slog.Attr
	group string
}

// Enabled lets records of every level through while a tracer is attached. Handle asks next then, so next is asked
// once for each record in either case.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return probes.RecordEnabled() || h.next.Enabled(ctx, level)
}

// Handle decides by the tracers of this moment. So if the last tracer detaches between Enabled and Handle, next gets a
// record that it may not be enabled for. Asking next again for every record of every program would cost more than
// those few records are worth.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	if probes.RecordEnabled() {
		return h.handleFiltered(ctx, record)
	}
	return h.next.Handle(ctx, record)
}

// handleFiltered fires the probe and passes on only the records that next is enabled for.
func (h *handler) handleFiltered(ctx context.Context, record slog.Record) error {
	h.fire(ctx, record)
	if h.next.Enabled(ctx, record.Level) {
		return h.next.Handle(ctx, record)
	}
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(h.next.WithAttrs(attrs), attrsOrGroup{attrs: attrs})
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(h.next.WithGroup(name), attrsOrGroup{group: name})
}

func (h *handler) with(next slog.Handler, last attrsOrGroup) slog.Handler {
	// The full slice expression makes append copy: handlers that share h must not share its tail.
	all := h.attrsAndGroups[:len(h.attrsAndGroups):len(h.attrsAndGroups)]
	return &handler{next: next, attrsAndGroups: append(all, last)}
}

// buffers holds the buffers that attributes are written to.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (h *handler) fire(ctx context.Context, record slog.Record) {
	frame := runtime.Frame{}
	if record.PC != 0 {
		frame, _ = runtime.CallersFrames([]uintptr{record.PC}).Next()
	}
	probes.Record(int64(record.Level), record.Message, h.attributes(ctx, record), frame.File, int32(frame.Line))
}

// attributes renders the attributes of the handler and of the record, without time, level and message.
func (h *handler) attributes(ctx context.Context, record slog.Record) string {
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	// Level and message are arguments of their own. TextHandler writes them before all other attributes, so the first
	// two that it replaces in Handle are these; attributes of these names that the program sets stay.
	skip := 0
	replace := func(_ []string, attr slog.Attr) slog.Attr {
		if skip > 0 {
			skip--
			return slog.Attr{}
		}
		return attr
	}
	text := slog.Handler(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: record.Level, ReplaceAttr: replace}))
	for _, one := range h.attrsAndGroups {
		if one.group != "" {
			text = text.WithGroup(one.group)
		} else {
			text = text.WithAttrs(one.attrs)
		}
	}
	// TextHandler writes no time where it is zero.
	bare := slog.NewRecord(time.Time{}, record.Level, "", 0)
	record.Attrs(func(attr slog.Attr) bool {
		bare.AddAttrs(attr)
		return true
	})
	skip = 2
	// Writing to a bytes.Buffer does not fail.
	_ = text.Handle(ctx, bare)
	return string(bytes.TrimSpace(buffer.Bytes()))
}
