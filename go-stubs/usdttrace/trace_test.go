package usdttrace

import (
	"bytes"
	"context"
	"fmt"
	"runtime/trace"
	"testing"
)

func ExampleNewTask() {
	ctx, task := NewTask(context.Background(), "order")
	defer task.End()
	WithRegion(ctx, "price", func() { Log(ctx, "item", "book") })
	Logf(ctx, "total", "%d", 12)
	fmt.Println(IsEnabled())
	// Output: false
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	ctx := context.Background()
	direct := testing.AllocsPerRun(1000, func() {
		_, task := trace.NewTask(ctx, "t")
		trace.StartRegion(ctx, "r").End()
		trace.Log(ctx, "c", "m")
		task.End()
	})
	wrapped := testing.AllocsPerRun(1000, func() {
		_, task := NewTask(ctx, "t")
		StartRegion(ctx, "r").End()
		Log(ctx, "c", "m")
		Logf(ctx, "c", "m")
		task.End()
	})
	if wrapped != direct {
		t.Errorf("%v allocations, want %v", wrapped, direct)
	}
}

func TestExecutionTraceContainsAnnotations(t *testing.T) {
	var out bytes.Buffer
	if err := trace.Start(&out); err != nil {
		t.Skip(err)
	}
	ctx, task := NewTask(context.Background(), "our task")
	WithRegion(ctx, "our region", func() {})
	Log(ctx, "our category", "our message")
	Logf(ctx, "our category", "our %s", "format")
	task.End()
	trace.Stop()
	for _, want := range []string{"our task", "our region", "our category", "our message", "our format"} {
		if !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("%q is not in the trace", want)
		}
	}
}

func TestZeroValuesCanEnd(t *testing.T) {
	Task{}.End()
	Region{}.End()
}

func BenchmarkRegion(b *testing.B) {
	ctx := context.Background()
	b.Run("direct", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			trace.StartRegion(ctx, "r").End()
		}
	})
	b.Run("wrapped", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			StartRegion(ctx, "r").End()
		}
	})
}
