// Package usdtpgx provides a tracer for pgx that fires static probes (USDT).
//
//	config, err := pgx.ParseConfig(url)
//	config.Tracer = usdtpgx.NewTracer()
//
// The probes have the names of those of database/sql, such as sql:query, so scripts and dashboards
// work with both. Use one of the two for a connection. Combine it with another tracer by package
// multitracer of pgx.
//
// While no tracer is attached, a statement costs a load and a test at its start and at its end, and
// allocates nothing.
package usdtpgx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"usdt.local/go-stubs/libraries/usdtpgx/internal/probes"
)

// Tracer fires the probes of statements. It implements pgx.QueryTracer, pgx.BatchTracer and
// pgx.PrepareTracer.
type Tracer struct{}

// NewTracer returns a tracer for pgx.ConnConfig.
func NewTracer() *Tracer { return &Tracer{} }

// operation is a statement or a batch that has begun while a tracer was attached.
type operation struct {
	sql   string
	start time.Time
}

type operationKey struct{}

func begin(ctx context.Context, sql string) context.Context {
	return context.WithValue(ctx, operationKey{}, &operation{sql, time.Now()})
}

// begun returns the operation of a context; nil if it began before a tracer was attached.
func begun(ctx context.Context) *operation {
	operation, _ := ctx.Value(operationKey{}).(*operation)
	return operation
}

// TraceQueryStart fires sql:query.
func (*Tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if probes.QueryEnabled() || probes.QueryDoneEnabled() {
		probes.Query(data.SQL)
		return begin(ctx, data.SQL)
	}
	return ctx
}

// TraceQueryEnd fires sql:query_done.
func (*Tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if probes.QueryDoneEnabled() {
		if operation := begun(ctx); operation != nil {
			probes.QueryDone(operation.sql, time.Since(operation.start), data.Err)
		}
	}
}

// TraceBatchStart fires no probe.
func (*Tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	if probes.BatchQueryDoneEnabled() {
		return begin(ctx, "")
	}
	return ctx
}

// TraceBatchQuery fires sql:batch_query_done.
func (*Tracer) TraceBatchQuery(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	if probes.BatchQueryDoneEnabled() {
		if operation := begun(ctx); operation != nil {
			probes.BatchQueryDone(data.SQL, time.Since(operation.start), data.Err)
		}
	}
}

// TraceBatchEnd fires no probe.
func (*Tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TracePrepareStart fires sql:prepare.
func (*Tracer) TracePrepareStart(ctx context.Context, _ *pgx.Conn, data pgx.TracePrepareStartData) context.Context {
	if probes.PrepareEnabled() || probes.PrepareDoneEnabled() {
		probes.Prepare(data.SQL)
		return begin(ctx, data.SQL)
	}
	return ctx
}

// TracePrepareEnd fires sql:prepare_done.
func (*Tracer) TracePrepareEnd(ctx context.Context, _ *pgx.Conn, data pgx.TracePrepareEndData) {
	if probes.PrepareDoneEnabled() {
		if operation := begun(ctx); operation != nil {
			probes.PrepareDone(operation.sql, time.Since(operation.start), data.Err)
		}
	}
}
