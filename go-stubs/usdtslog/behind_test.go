package usdtslog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTypesAreWhatTheyAre(t *testing.T) {
	if own, ok := any(Handler(quiet())).(*handler); !ok || own == nil {
		t.Error("a handler is of another type")
	}
}

// deep is a handler that needs more stack than there is, so that the frame which called the jump moves.
type deep struct {
	slog.Handler
	got func(context.Context, slog.Record)
}

func (d deep) Handle(ctx context.Context, record slog.Record) error {
	if n := descend(2000); n != 2000 {
		return fmt.Errorf("%d", n)
	}
	runtime.GC()
	d.got(ctx, record)
	return io.ErrShortWrite
}

func descend(n int) int {
	var room [64]byte
	if n == 0 {
		return int(room[n])
	}
	room[n%64] = 1
	return descend(n-1) + int(room[n%64])
}

type name struct{}

func TestTheJumpHandsOnWhatItGot(t *testing.T) {
	for _, before := range []uint32{0, 1} {
		done := make(chan string)
		// A goroutine begins with a small stack.
		go func() {
			var said strings.Builder
			handler := Handler(deep{quiet(), func(ctx context.Context, record slog.Record) {
				fmt.Fprint(&said, ctx.Value(name{}), " ", record.Level, " ", record.Message)
				record.Attrs(func(attr slog.Attr) bool {
					fmt.Fprint(&said, " ", attr)
					return true
				})
			}})
			record := slog.NewRecord(time.Now(), slog.LevelWarn, "message", 0)
			for n := 0; n < 9; n++ {
				record.AddAttrs(slog.Int("n", n))
			}
			atomic.StoreUint32(&asked, before)
			defer atomic.StoreUint32(&asked, 0)
			err := handler.Handle(context.WithValue(context.Background(), name{}, "context"), record)
			fmt.Fprint(&said, " ", err)
			done <- said.String()
		}()
		if said := <-done; said != "context WARN message n=0 n=1 n=2 n=3 n=4 n=5 n=6 n=7 n=8 short write" {
			t.Errorf("asked %d: %q", before, said)
		}
	}
}

// The collector, profiles and preemption stop goroutines anywhere, also in the jump.
func TestTheJumpWhileGoroutinesAreStopped(t *testing.T) {
	defer atomic.StoreUint32(&asked, 0)
	var seen atomic.Int64
	var stop atomic.Bool
	var running sync.WaitGroup
	for n := 0; n < 4; n++ {
		running.Add(1)
		go func() {
			defer running.Done()
			handler := Handler(Handler(counting{quiet(), &seen}))
			for made := int64(0); !stop.Load(); made++ {
				record := slog.NewRecord(time.Time{}, slog.LevelInfo, strings.Repeat("m", int(made%9)), 0)
				record.AddAttrs(slog.Int64("made", made), slog.Int64("length", made%9))
				if err := handler.Handle(context.Background(), record); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	stacks := make([]byte, 1<<16)
	for n := uint32(0); n < 30; n++ {
		runtime.GC()
		runtime.Stack(stacks, true)
		atomic.StoreUint32(&asked, n%2)
	}
	stop.Store(true)
	running.Wait()
	if seen.Load() == 0 {
		t.Error("no record arrived")
	}
}

type counting struct {
	slog.Handler
	seen *atomic.Int64
}

func (c counting) Handle(_ context.Context, record slog.Record) error {
	var values []int64
	record.Attrs(func(attr slog.Attr) bool {
		values = append(values, attr.Value.Int64())
		return true
	})
	if len(values) != 2 || values[0]%9 != values[1] || int64(len(record.Message)) != values[1] {
		return fmt.Errorf("%q with %d", record.Message, values)
	}
	c.seen.Add(1)
	return nil
}

// A handler that is not there is a nil pointer in the jump as in Go.
func TestNoHandlerBehindPanics(t *testing.T) {
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			t.Error("no panic")
		}
	}()
	_ = Handler(nil).Handle(context.Background(), slog.Record{})
}
