// Package usdtslog provides a handler for log/slog that fires a static probe (USDT) for each
// record.
//
// While a tracer is attached to slog:record, the probe fires for records of every level, including
// debug records, whatever level the program is configured to log. The wrapped handler still gets
// only the records that it is enabled for.
//
// While no tracer is attached, a record costs two loads and two tests more than with a wrapper that
// only calls the next handler, and allocates nothing.
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

// NewHandler returns a handler that fires slog:record and passes records to next.
//
// Do not pass slog.Default().Handler() as next and then make the result the default. That handler
// writes through package log, which slog.SetDefault redirects to the new default, so any wrapper
// deadlocks (go.dev/issue/62424). Wrap a handler that writes its records itself, such as
// slog.NewTextHandler(os.Stderr, nil).
func NewHandler(next slog.Handler) slog.Handler { return &handler{next: next} }

type handler struct {
	next slog.Handler
	// attrsAndGroups holds the arguments of WithAttrs and WithGroup, in the order of the calls.
	attrsAndGroups []attrsOrGroup
}

// attrsOrGroup is the argument of a call of WithGroup if group is not empty, or else of WithAttrs.
type attrsOrGroup struct {
	attrs []slog.Attr
	group string
}

// Enabled returns true for records of every level while a tracer is attached. Handle then calls
// next.Enabled, so in either case next.Enabled is called once for each record.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return probes.RecordEnabled() || h.next.Enabled(ctx, level)
}

// Handle calls next.Enabled only if a tracer is attached now. If the last tracer detaches between
// Enabled and Handle, next therefore gets a record that it may not be enabled for. Calling
// next.Enabled a second time for every record would avoid this, but at a cost for all programs.
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
	// The full slice expression makes append copy, so handlers that are derived from h do not
	// overwrite each other's elements.
	previous := h.attrsAndGroups[:len(h.attrsAndGroups):len(h.attrsAndGroups)]
	return &handler{next: next, attrsAndGroups: append(previous, last)}
}

// buffers holds buffers for formatted attributes.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (h *handler) fire(ctx context.Context, record slog.Record) {
	frame := runtime.Frame{}
	if record.PC != 0 {
		frame, _ = runtime.CallersFrames([]uintptr{record.PC}).Next()
	}
	probes.Record(int64(record.Level), record.Message, h.attributes(ctx, record), frame.File, int32(frame.Line))
}

// attributes formats the attributes of the handler and of the record, without time, level and
// message.
func (h *handler) attributes(ctx context.Context, record slog.Record) string {
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	// Level and message are separate arguments of the probe. TextHandler writes them before all
	// attributes, so they are the first two that Handle passes to ReplaceAttr. Attributes of the
	// program with the same names are kept.
	skip := 0
	replace := func(_ []string, attr slog.Attr) slog.Attr {
		if skip > 0 {
			skip--
			return slog.Attr{}
		}
		return attr
	}
	formatter := slog.Handler(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: record.Level, ReplaceAttr: replace}))
	for _, added := range h.attrsAndGroups {
		if added.group != "" {
			formatter = formatter.WithGroup(added.group)
		} else {
			formatter = formatter.WithAttrs(added.attrs)
		}
	}
	// TextHandler omits a zero time.
	bare := slog.NewRecord(time.Time{}, record.Level, "", 0)
	record.Attrs(func(attr slog.Attr) bool {
		bare.AddAttrs(attr)
		return true
	})
	skip = 2
	// Writing to a bytes.Buffer does not fail.
	_ = formatter.Handle(ctx, bare)
	return string(bytes.TrimSpace(buffer.Bytes()))
}
