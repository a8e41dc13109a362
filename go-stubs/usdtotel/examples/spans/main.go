// Spans creates a few spans with the OpenTelemetry SDK and prints each as a line of JSON. A tracer
// that is attached to the probes should report the same spans.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"usdt.local/go-stubs/usdtotel"
)

// printer is a span processor that prints spans when they end.
type printer struct{ *json.Encoder }

func (printer) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (printer) Shutdown(context.Context) error                  { return nil }
func (printer) ForceFlush(context.Context) error                { return nil }

func (p printer) OnEnd(span sdktrace.ReadOnlySpan) {
	err := p.Encode(map[string]any{
		"trace": span.SpanContext().TraceID().String(), "span": span.SpanContext().SpanID().String(),
		"parent": span.Parent().SpanID().String(), "name": span.Name(), "message": span.Status().Description,
		"start": span.StartTime().UnixNano(), "end": span.EndTime().UnixNano(),
	})
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(usdtotel.NewSpanProcessor()),
		sdktrace.WithSpanProcessor(printer{json.NewEncoder(os.Stdout)}),
	)
	defer provider.Shutdown(context.Background())
	tracer := provider.Tracer("spans")
	ctx, order := tracer.Start(context.Background(), "order", trace.WithSpanKind(trace.SpanKindServer))
	for _, name := range []string{"price", "pay"} {
		_, span := tracer.Start(ctx, name, trace.WithAttributes(attribute.Int("items", 3)))
		time.Sleep(2 * time.Millisecond)
		if name == "pay" {
			span.SetStatus(codes.Error, "no money")
		}
		span.End()
	}
	order.End()
}
