//go:build linux && (amd64 || arm64) && !usdt_off

package usdtslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"usdt.local/go-stubs/usdtslog/internal/probes"
)

// recordProbe is the start of the probe's data, up to the semaphore that counts the attached
// tracers.
//
//go:linkname recordProbe usdt.local/go-stubs/usdtslog/internal/probes.usdtProbeRecord
var recordProbe struct {
	_         [18]byte
	semaphore uint16
}

// withTracer increments the probe's semaphore while f runs, as the kernel does while a tracer is
// attached.
func withTracer(t *testing.T, f func()) {
	t.Helper()
	recordProbe.semaphore++
	defer func() { recordProbe.semaphore-- }()
	if !probes.RecordEnabled() {
		t.Fatal("the semaphore has another offset in the probe's data")
	}
	f()
}

// countingHandler counts the calls of its methods.
type countingHandler struct {
	slog.Handler
	enabled, handled int
}

func (c *countingHandler) Enabled(ctx context.Context, level slog.Level) bool {
	c.enabled++
	return c.Handler.Enabled(ctx, level)
}

func (c *countingHandler) Handle(ctx context.Context, record slog.Record) error {
	c.handled++
	return c.Handler.Handle(ctx, record)
}

// log logs a record as slog.Logger does, but without the caller.
func log(handler slog.Handler, level slog.Level) {
	ctx := context.Background()
	if handler.Enabled(ctx, level) {
		handler.Handle(ctx, slog.NewRecord(time.Time{}, level, "m", 0))
	}
}

func TestHandleCallsNextEnabledOnlyWhileTraced(t *testing.T) {
	next := &countingHandler{Handler: discard()}
	handler := NewHandler(next)
	check := func(when string, level slog.Level, enabled, handled int) {
		t.Helper()
		*next = countingHandler{Handler: next.Handler}
		log(handler, level)
		if next.enabled != enabled || next.handled != handled {
			t.Errorf("%s, %v: next.Enabled called %d times instead of %d, next.Handle %d instead of %d",
				when, level, next.enabled, enabled, next.handled, handled)
		}
	}
	untraced := func(when string) {
		t.Helper()
		check(when, slog.LevelDebug, 1, 0)
		check(when, slog.LevelInfo, 1, 1)
	}
	untraced("before a tracer")
	withTracer(t, func() {
		check("while traced", slog.LevelDebug, 1, 0)
		check("while traced", slog.LevelInfo, 1, 1)
		if !handler.Enabled(context.Background(), slog.LevelDebug) {
			t.Error("the handler is not enabled for debug records while traced")
		}
	})
	untraced("after a tracer")
	// Without a tracer, Handle alone does not call next.Enabled.
	*next = countingHandler{Handler: next.Handler}
	handler.Handle(context.Background(), slog.NewRecord(time.Time{}, slog.LevelInfo, "m", 0))
	if next.enabled != 0 {
		t.Errorf("after a tracer: Handle calls next.Enabled %d times", next.enabled)
	}
}

func TestDisabledAfterTracerAddsNoAllocation(t *testing.T) {
	handler := NewHandler(discard())
	withTracer(t, func() { log(handler, slog.LevelDebug) })
	if n := testing.AllocsPerRun(1000, func() {
		log(handler, slog.LevelDebug)
		log(handler, slog.LevelInfo)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTracedRecordsBelowTheLevelDoNotReachNext(t *testing.T) {
	var out bytes.Buffer
	handler := NewHandler(slog.NewTextHandler(&out, nil))
	withTracer(t, func() {
		log(handler, slog.LevelDebug)
		log(handler, slog.LevelInfo)
	})
	if out.String() != "level=INFO msg=m\n" {
		t.Errorf("%q", out.String())
	}
}

// failingHandler stores the arguments of Handle, which returns an error.
type failingHandler struct {
	slog.Handler
	ctx    context.Context
	record slog.Record
}

func (r *failingHandler) Handle(ctx context.Context, record slog.Record) error {
	r.ctx, r.record = ctx, record
	return io.ErrShortWrite
}

func TestHandlePassesArgumentsAndErrorThrough(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(context.Background(), key{}, "value")
	record := slog.NewRecord(time.Now(), slog.LevelWarn, "message", 0)
	// More attributes than the array of a record holds.
	for n := 0; n < 9; n++ {
		record.AddAttrs(slog.Int("n", n))
	}
	check := func() {
		t.Helper()
		next := &failingHandler{Handler: discard()}
		err := NewHandler(next).Handle(ctx, record)
		if !errors.Is(err, io.ErrShortWrite) || next.ctx != ctx || !reflect.DeepEqual(next.record, record) {
			t.Errorf("got %v, %v, %v", next.ctx, next.record, err)
		}
	}
	check()
	withTracer(t, check)
}
