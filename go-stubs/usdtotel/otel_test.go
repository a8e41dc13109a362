package usdtotel

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

func Example() {
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(NewSpanProcessor()))
	defer provider.Shutdown(context.Background())
	_, span := provider.Tracer("example").Start(context.Background(), "work")
	span.End()
	// Output:
}

func TestOffAddsNoAllocation(t *testing.T) {
	processor, ctx := NewSpanProcessor(), context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		processor.OnStart(ctx, nil)
		processor.OnEnd(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDigits(t *testing.T) {
	var traceID traceDigits
	var spanID spanDigits
	if got := traceID.of(api.TraceID{1, 0xfe, 15: 0x0a}); got != "01fe000000000000000000000000000a" {
		t.Error(got)
	}
	if got := spanID.of(api.SpanID{7: 0xff}); got != "00000000000000ff" {
		t.Error(got)
	}
}

// What a tracer gets to see is put together without an allocation of ours.
func TestOnAllocatesNothingForIds(t *testing.T) {
	provider := trace.NewTracerProvider()
	_, span := provider.Tracer("test").Start(context.Background(), "work")
	defer span.End()
	both := span.(trace.ReadWriteSpan)
	if n := testing.AllocsPerRun(1000, func() { start(both) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	end(both)
}

func BenchmarkOnStartAndEnd(b *testing.B) {
	ctx := context.Background()
	for name, processor := range map[string]trace.SpanProcessor{"direct": empty{}, "wrapped": NewSpanProcessor()} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				processor.OnStart(ctx, nil)
				processor.OnEnd(nil)
			}
		})
	}
}

type empty struct{}

func (empty) OnStart(context.Context, trace.ReadWriteSpan) {}
func (empty) OnEnd(trace.ReadOnlySpan)                     {}
func (empty) Shutdown(context.Context) error               { return nil }
func (empty) ForceFlush(context.Context) error             { return nil }
