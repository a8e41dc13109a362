package usdtpgx

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

var (
	_ pgx.QueryTracer   = (*Tracer)(nil)
	_ pgx.BatchTracer   = (*Tracer)(nil)
	_ pgx.PrepareTracer = (*Tracer)(nil)
)

func TestDisabledAddsNothingToTheContext(t *testing.T) {
	tracer, ctx := NewTracer(), context.Background()
	for name, got := range map[string]context.Context{
		"query":   tracer.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{SQL: "SELECT 1"}),
		"batch":   tracer.TraceBatchStart(ctx, nil, pgx.TraceBatchStartData{}),
		"prepare": tracer.TracePrepareStart(ctx, nil, pgx.TracePrepareStartData{SQL: "SELECT 1"}),
	} {
		if got != ctx {
			t.Errorf("%s: the context has changed", name)
		}
	}
	if n := testing.AllocsPerRun(1000, func() {
		tracer.TraceQueryEnd(tracer.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{SQL: "SELECT 1"}), nil, pgx.TraceQueryEndData{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestContextHoldsTheStatement(t *testing.T) {
	if operation := begun(begin(context.Background(), "SELECT 1")); operation == nil || operation.sql != "SELECT 1" {
		t.Errorf("got %v", operation)
	}
	if operation := begun(context.Background()); operation != nil {
		t.Errorf("got %v for a statement that began before the tracer", operation)
	}
}

// tracer is what pgx calls.
type tracer interface {
	pgx.QueryTracer
	pgx.BatchTracer
	pgx.PrepareTracer
}

// nothing is a tracer that does nothing: the minimum cost of any tracer.
type nothing struct{}

func (nothing) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (nothing) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (nothing) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (nothing) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (nothing) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (nothing) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	return ctx
}
func (nothing) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

var tracers = map[string]tracer{"between": nothing{}, "wrapped": NewTracer()}

func BenchmarkQuery(b *testing.B) {
	ctx := context.Background()
	for name, tracer := range tracers {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				tracer.TraceQueryEnd(tracer.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{SQL: "SELECT 1"}), nil, pgx.TraceQueryEndData{})
			}
		})
	}
}

func BenchmarkBatch(b *testing.B) {
	ctx := context.Background()
	for name, tracer := range tracers {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				ctx := tracer.TraceBatchStart(ctx, nil, pgx.TraceBatchStartData{})
				tracer.TraceBatchQuery(ctx, nil, pgx.TraceBatchQueryData{SQL: "SELECT 1"})
				tracer.TraceBatchEnd(ctx, nil, pgx.TraceBatchEndData{})
			}
		})
	}
}

func BenchmarkPrepare(b *testing.B) {
	ctx := context.Background()
	for name, tracer := range tracers {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				tracer.TracePrepareEnd(tracer.TracePrepareStart(ctx, nil, pgx.TracePrepareStartData{SQL: "SELECT 1"}), nil, pgx.TracePrepareEndData{})
			}
		})
	}
}
