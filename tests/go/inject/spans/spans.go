// Package spans handles contexts with OpenTelemetry spans.
package spans

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

var sink string

// With returns a context with a span.
func With(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4, 5},
	}))
}

// Handle takes a context.
//
//go:noinline
func Handle(ctx context.Context, name string) { sink = name }
