// Package usdtotel shows the spans of an OpenTelemetry SDK as static probes (USDT), without an exporter.
//
//	provider := trace.NewTracerProvider(trace.WithSpanProcessor(usdtotel.NewSpanProcessor()))
//
// Spans that the provider's sampler drops do not reach span processors; with the sampler that is the default, all do.
// While no tracer is attached, the start of a span costs a load and a test more, its end two of each, and no allocation.
package usdtotel

import (
	"context"
	"encoding/hex"
	"unsafe"

	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
	"usdt.local/go-stubs/usdtotel/internal/probes"
)

// NewSpanProcessor returns a processor that fires otel:span_start and otel:span_end.
func NewSpanProcessor() trace.SpanProcessor { return processor{} }

type processor struct{}

func (processor) OnStart(_ context.Context, span trace.ReadWriteSpan) {
	if probes.SpanStartEnabled() {
		start(span)
	}
}

func (processor) OnEnd(span trace.ReadOnlySpan) {
	if probes.SpanEndEnabled() || probes.SpanAttributeEnabled() {
		end(span)
	}
}

func (processor) Shutdown(context.Context) error   { return nil }
func (processor) ForceFlush(context.Context) error { return nil }

// Hexadecimal ids live on the stack: tracers read them before the probe's function returns.

type (
	traceDigits [2 * len(api.TraceID{})]byte
	spanDigits  [2 * len(api.SpanID{})]byte
)

func (d *traceDigits) of(id api.TraceID) string {
	hex.Encode(d[:], id[:])
	return unsafe.String(&d[0], len(d))
}

func (d *spanDigits) of(id api.SpanID) string {
	hex.Encode(d[:], id[:])
	return unsafe.String(&d[0], len(d))
}

func start(span trace.ReadWriteSpan) {
	var traceID traceDigits
	var spanID, parentID spanDigits
	context := span.SpanContext()
	probes.SpanStart(traceID.of(context.TraceID()), spanID.of(context.SpanID()), parentID.of(span.Parent().SpanID()),
		span.Name(), int32(span.SpanKind()))
}

func end(span trace.ReadOnlySpan) {
	var traceID traceDigits
	var spanID spanDigits
	context, status := span.SpanContext(), span.Status()
	id := spanID.of(context.SpanID())
	if probes.SpanAttributeEnabled() {
		for _, attribute := range span.Attributes() {
			probes.SpanAttribute(id, string(attribute.Key), attribute.Value.Emit())
		}
	}
	if probes.SpanEndEnabled() {
		took := span.EndTime().Sub(span.StartTime())
		probes.SpanEnd(traceID.of(context.TraceID()), id, span.Name(), int32(status.Code), status.Description, int64(took))
	}
}
