// Spans makes a few spans with OpenTelemetry's SDK and prints what they are, one JSON object a line: what whoever looks at the
// probes should see, too.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
	"usdt.local/go-stubs/usdtotel"
)

// printer prints spans that have ended.
type printer struct{ *json.Encoder }

func (printer) OnStart(context.Context, trace.ReadWriteSpan) {}
func (printer) Shutdown(context.Context) error               { return nil }
func (printer) ForceFlush(context.Context) error             { return nil }

func (p printer) OnEnd(span trace.ReadOnlySpan) {
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
	provider := trace.NewTracerProvider(
		trace.WithSpanProcessor(usdtotel.NewSpanProcessor()),
		trace.WithSpanProcessor(printer{json.NewEncoder(os.Stdout)}),
	)
	defer provider.Shutdown(context.Background())
	tracer := provider.Tracer("spans")
	ctx, order := tracer.Start(context.Background(), "order", api.WithSpanKind(api.SpanKindServer))
	for _, name := range []string{"price", "pay"} {
		_, span := tracer.Start(ctx, name, api.WithAttributes(attribute.Int("items", 3)))
		time.Sleep(2 * time.Millisecond)
		if name == "pay" {
			span.SetStatus(codes.Error, "no money")
		}
		span.End()
	}
	order.End()
}
