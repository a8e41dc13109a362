package usdtotel

import (
	"context"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func Example() {
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(NewSpanProcessor()))
	defer provider.Shutdown(context.Background())
	_, span := provider.Tracer("example").Start(context.Background(), "work")
	span.End()
	// Output:
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	processor, ctx := NewSpanProcessor(), context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		processor.OnStart(ctx, nil)
		processor.OnEnd(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestIDsAreEncodedLikeTheirString(t *testing.T) {
	var traceID hexTraceID
	var spanID hexSpanID
	wantTrace, wantSpan := trace.TraceID{1, 0xfe, 15: 0x0a}, trace.SpanID{7: 0xff}
	if got := traceID.encode(wantTrace); got != wantTrace.String() {
		t.Errorf("got %q, want %q", got, wantTrace)
	}
	if got := spanID.encode(wantSpan); got != wantSpan.String() {
		t.Errorf("got %q, want %q", got, wantSpan)
	}
}

func TestFiringStartDoesNotAllocate(t *testing.T) {
	provider := sdktrace.NewTracerProvider()
	_, span := provider.Tracer("test").Start(context.Background(), "work")
	defer span.End()
	readWrite := span.(sdktrace.ReadWriteSpan)
	if n := testing.AllocsPerRun(1000, func() { fireStart(readWrite) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	fireEnd(readWrite)
}

func BenchmarkOnStartAndEnd(b *testing.B) {
	ctx := context.Background()
	for name, processor := range map[string]sdktrace.SpanProcessor{"direct": emptyProcessor{}, "wrapped": NewSpanProcessor()} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				processor.OnStart(ctx, nil)
				processor.OnEnd(nil)
			}
		})
	}
}

// emptyProcessor does nothing.
type emptyProcessor struct{}

func (emptyProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (emptyProcessor) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (emptyProcessor) Shutdown(context.Context) error                  { return nil }
func (emptyProcessor) ForceFlush(context.Context) error                { return nil }
