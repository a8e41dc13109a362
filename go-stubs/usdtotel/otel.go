// Package usdtotel provides a span processor for the OpenTelemetry SDK that fires static probes
// (USDT), so tracers see the spans of a program without an exporter.
//
//	provider := trace.NewTracerProvider(trace.WithSpanProcessor(usdtotel.NewSpanProcessor()))
//
// Span processors do not get spans that the provider's sampler drops. The default sampler drops
// none. While no tracer is attached, the start of a span costs one load and one test, and its end
// two of each. Neither allocates memory.
package usdtotel

import (
	"context"
	"encoding/hex"
	"unsafe"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"usdt.local/go-stubs/usdtotel/internal/probes"
)

// NewSpanProcessor returns a span processor that fires otel:span_start, otel:span_end and
// otel:span_attribute.
func NewSpanProcessor() sdktrace.SpanProcessor { return processor{} }

type processor struct{}

func (processor) OnStart(_ context.Context, span sdktrace.ReadWriteSpan) {
	if probes.SpanStartEnabled() {
		fireStart(span)
	}
}

func (processor) OnEnd(span sdktrace.ReadOnlySpan) {
	if probes.SpanEndEnabled() || probes.SpanAttributeEnabled() {
		fireEnd(span)
	}
}

func (processor) Shutdown(context.Context) error   { return nil }
func (processor) ForceFlush(context.Context) error { return nil }

// Hexadecimal IDs are on the stack: tracers read them before the function that fires the probe
// returns.

type (
	hexTraceID [2 * len(trace.TraceID{})]byte
	hexSpanID  [2 * len(trace.SpanID{})]byte
)

// encode stores the digits of id and returns them as a string, which shares the memory of h.
func (h *hexTraceID) encode(id trace.TraceID) string {
	hex.Encode(h[:], id[:])
	return unsafe.String(&h[0], len(h))
}

// encode stores the digits of id and returns them as a string, which shares the memory of h.
func (h *hexSpanID) encode(id trace.SpanID) string {
	hex.Encode(h[:], id[:])
	return unsafe.String(&h[0], len(h))
}

func fireStart(span sdktrace.ReadWriteSpan) {
	var traceID hexTraceID
	var spanID, parentID hexSpanID
	spanContext := span.SpanContext()
	probes.SpanStart(traceID.encode(spanContext.TraceID()), spanID.encode(spanContext.SpanID()),
		parentID.encode(span.Parent().SpanID()), span.Name(), int32(span.SpanKind()))
}

func fireEnd(span sdktrace.ReadOnlySpan) {
	var traceID hexTraceID
	var spanID hexSpanID
	spanContext, status := span.SpanContext(), span.Status()
	id := spanID.encode(spanContext.SpanID())
	if probes.SpanAttributeEnabled() {
		for _, attribute := range span.Attributes() {
			// Value.String, which replaces Emit, is newer than the oldest supported SDK.
			probes.SpanAttribute(id, string(attribute.Key), attribute.Value.Emit()) //nolint:staticcheck
		}
	}
	if probes.SpanEndEnabled() {
		duration := span.EndTime().Sub(span.StartTime())
		probes.SpanEnd(traceID.encode(spanContext.TraceID()), id, span.Name(), int32(status.Code), status.Description, duration)
	}
}
