// Package off measures the overhead of disabled instrumentation.
package off

import (
	"context"
	"io"
	"log/slog"
	"runtime/trace"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"usdt.local/bench/off/sdt"
	"usdt.local/bench/probes"
)

func BenchmarkEmptyLoop(b *testing.B) {
	for i := 0; i < b.N; i++ {
	}
}

func BenchmarkGate(b *testing.B) {
	for i := 0; i < b.N; i++ {
		probes.Hit(1, uint64(i), "text")
	}
}

func BenchmarkGateSixArguments(b *testing.B) {
	for i := 0; i < b.N; i++ {
		probes.Six(1, 2, 3, 4, 5, int64(i))
	}
}

func BenchmarkGateClosure(b *testing.B) {
	for i := 0; i < b.N; i++ {
		probes.HitFunc(func(fire func(self, n uint64, text string)) { fire(1, uint64(i), "text") })
	}
}

func BenchmarkAssemblyCall(b *testing.B) {
	for i := 0; i < b.N; i++ {
		stub(1, uint64(i), "text")
	}
}

func BenchmarkCgoSdt(b *testing.B) {
	for i := 0; i < b.N; i++ {
		sdt.Hit(1, uint64(i), "text")
	}
}

func BenchmarkCgoSdtSemaphore(b *testing.B) {
	for i := 0; i < b.N; i++ {
		if sdt.Enabled() {
			sdt.Hit(1, uint64(i), "text")
		}
	}
}

func BenchmarkCgoPeek(b *testing.B) {
	for i := 0; i < b.N; i++ {
		if sdt.Patched() {
			sdt.Hit(1, uint64(i), "text")
		}
	}
}

func BenchmarkTraceRegion(b *testing.B) {
	ctx := context.Background()
	for i := 0; i < b.N; i++ {
		trace.StartRegion(ctx, "hit").End()
	}
}

func BenchmarkTraceLog(b *testing.B) {
	ctx := context.Background()
	for i := 0; i < b.N; i++ {
		trace.Log(ctx, "hit", "text")
	}
}

func BenchmarkSlogDisabled(b *testing.B) {
	ctx, logger := context.Background(), slog.New(slog.NewTextHandler(io.Discard, nil))
	for i := 0; i < b.N; i++ {
		logger.LogAttrs(ctx, slog.LevelDebug, "hit", slog.Int("n", i), slog.String("text", "text"))
	}
}

func BenchmarkOtelNoop(b *testing.B) {
	ctx, tracer := context.Background(), noop.NewTracerProvider().Tracer("bench")
	for i := 0; i < b.N; i++ {
		_, span := tracer.Start(ctx, "hit")
		span.End()
	}
}

func BenchmarkOtelNoopAttributes(b *testing.B) {
	ctx, tracer := context.Background(), noop.NewTracerProvider().Tracer("bench")
	for i := 0; i < b.N; i++ {
		_, span := tracer.Start(ctx, "hit", oteltrace.WithAttributes(attribute.Int("n", i), attribute.String("text", "text")))
		span.End()
	}
}
