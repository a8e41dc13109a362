package usdtslog

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"
	"time"
)

func discard() slog.Handler { return slog.NewTextHandler(io.Discard, nil) }

func TestDisabledAddsNoAllocation(t *testing.T) {
	ctx, record := context.Background(), slog.NewRecord(time.Now(), slog.LevelInfo, "message", 0)
	handler := NewHandler(discard())
	if n := testing.AllocsPerRun(1000, func() {
		if handler.Enabled(ctx, record.Level) {
			handler.Handle(ctx, record)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestGroupsAndAttributesReachNext(t *testing.T) {
	var direct, wrapped bytes.Buffer
	for _, test := range []struct {
		out     *bytes.Buffer
		handler slog.Handler
	}{{&direct, slog.NewTextHandler(&direct, nil)}, {&wrapped, NewHandler(slog.NewTextHandler(&wrapped, nil))}} {
		handler := test.handler.WithAttrs([]slog.Attr{slog.Int("a", 1)}).WithGroup("g").WithAttrs([]slog.Attr{slog.Int("b", 2)})
		record := slog.NewRecord(time.Time{}, slog.LevelWarn, "message", 0)
		record.AddAttrs(slog.String("c", "3"))
		if err := handler.Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
	}
	if direct.String() != wrapped.String() {
		t.Errorf("got %q, want %q", wrapped.String(), direct.String())
	}
}

func TestAttributesLeaveOutTimeLevelAndMessage(t *testing.T) {
	derived := NewHandler(discard()).WithAttrs([]slog.Attr{slog.String("level", "custom")}).WithGroup("g").(*handler)
	record := slog.NewRecord(time.Now(), slog.LevelDebug, "message", 0)
	record.AddAttrs(slog.String("msg", "two words"), slog.Int("n", 1))
	if got := derived.attributes(context.Background(), record); got != `level=custom g.msg="two words" g.n=1` {
		t.Errorf("%q", got)
	}
}

func TestEmptyGroupNameReturnsTheReceiver(t *testing.T) {
	if handler := NewHandler(discard()); handler.WithGroup("") != handler {
		t.Error("WithGroup(\"\") returns another handler")
	}
}

func BenchmarkEnabled(b *testing.B) {
	ctx := context.Background()
	for name, handler := range map[string]slog.Handler{
		"direct": discard(), "between": &passThrough{discard()}, "wrapped": NewHandler(discard()),
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				handler.Enabled(ctx, slog.LevelDebug)
			}
		})
	}
}

func BenchmarkHandle(b *testing.B) {
	ctx, record := context.Background(), slog.NewRecord(time.Now(), slog.LevelInfo, "message", 0)
	direct := emptyHandler{}
	for name, handler := range map[string]slog.Handler{
		"direct": direct, "between": &passThrough{direct}, "wrapped": NewHandler(direct),
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				if handler.Enabled(ctx, record.Level) {
					handler.Handle(ctx, record)
				}
			}
		})
	}
}

// passThrough is a wrapper that only calls what it wraps: the minimum cost of any wrapper.
type passThrough struct{ slog.Handler }

func (p *passThrough) Enabled(ctx context.Context, level slog.Level) bool {
	return p.Handler.Enabled(ctx, level)
}

func (p *passThrough) Handle(ctx context.Context, record slog.Record) error {
	return p.Handler.Handle(ctx, record)
}

// emptyHandler is enabled for every record and does nothing.
type emptyHandler struct{}

func (emptyHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (emptyHandler) Handle(context.Context, slog.Record) error { return nil }
func (e emptyHandler) WithAttrs([]slog.Attr) slog.Handler      { return e }
func (e emptyHandler) WithGroup(string) slog.Handler           { return e }
