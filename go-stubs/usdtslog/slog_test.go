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

func TestOffAddsNoAllocation(t *testing.T) {
	ctx, record := context.Background(), slog.NewRecord(time.Now(), slog.LevelInfo, "message", 0)
	handler := Handler(discard())
	if n := testing.AllocsPerRun(1000, func() {
		if handler.Enabled(ctx, record.Level) {
			handler.Handle(ctx, record)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestGroupsAndAttributesReachTheHandler(t *testing.T) {
	var direct, wrapped bytes.Buffer
	for _, one := range []struct {
		out     *bytes.Buffer
		handler slog.Handler
	}{{&direct, slog.NewTextHandler(&direct, nil)}, {&wrapped, Handler(slog.NewTextHandler(&wrapped, nil))}} {
		handler := one.handler.WithAttrs([]slog.Attr{slog.Int("a", 1)}).WithGroup("g").WithAttrs([]slog.Attr{slog.Int("b", 2)})
		record := slog.NewRecord(time.Time{}, slog.LevelWarn, "text", 0)
		record.AddAttrs(slog.String("c", "3"))
		if err := handler.Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
	}
	if direct.String() != wrapped.String() {
		t.Errorf("%q is not %q", wrapped.String(), direct.String())
	}
}

func TestAttributesLeaveOutTimeLevelAndMessage(t *testing.T) {
	logger := Handler(discard()).WithAttrs([]slog.Attr{slog.String("level", "own")}).WithGroup("g").(*handler)
	record := slog.NewRecord(time.Now(), slog.LevelDebug, "text", 0)
	record.AddAttrs(slog.String("msg", "two words"), slog.Int("n", 1))
	if got := logger.attributes(context.Background(), record); got != `level=own g.msg="two words" g.n=1` {
		t.Errorf("%q", got)
	}
}

func TestEmptyGroupNameReturnsTheReceiver(t *testing.T) {
	if handler := Handler(discard()); handler.WithGroup("") != handler {
		t.Error("WithGroup(\"\") returns another handler")
	}
}

func BenchmarkEnabled(b *testing.B) {
	ctx := context.Background()
	for name, handler := range map[string]slog.Handler{
		"direct": discard(), "between": &passing{discard()}, "wrapped": Handler(discard()),
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
	between := &passing{empty{}}
	for name, handler := range map[string]slog.Handler{"direct": empty{}, "between": between, "wrapped": Handler(empty{})} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				if handler.Enabled(ctx, record.Level) {
					handler.Handle(ctx, record)
				}
			}
		})
	}
}

// passing is a wrapper that only passes calls on: the least that any wrapper costs.
type passing struct{ slog.Handler }

func (p *passing) Enabled(ctx context.Context, level slog.Level) bool {
	return p.Handler.Enabled(ctx, level)
}

func (p *passing) Handle(ctx context.Context, record slog.Record) error {
	return p.Handler.Handle(ctx, record)
}

type empty struct{}

func (empty) Enabled(context.Context, slog.Level) bool  { return true }
func (empty) Handle(context.Context, slog.Record) error { return nil }
func (e empty) WithAttrs([]slog.Attr) slog.Handler      { return e }
func (e empty) WithGroup(string) slog.Handler           { return e }
