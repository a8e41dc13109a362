package usdtsql

//lint:file-ignore SA1019 Drivers that implement only the deprecated interfaces are supported.

import (
	"context"
	"database/sql/driver"
	"time"

	"usdt.local/go-stubs/usdtsql/internal/probes"
)

// stmt wraps a prepared statement.
type stmt struct {
	base    driver.Stmt
	query   string
	execer  driver.StmtExecContext
	queryer driver.StmtQueryContext
	checker driver.NamedValueChecker
}

// newStmt wraps a statement. The wrapper implements driver.ColumnConverter only if base does,
// because database/sql behaves differently then.
func newStmt(base driver.Stmt, conn *conn, query string) driver.Stmt {
	s := &stmt{base: base, query: query, checker: conn.checker}
	var ok bool
	if s.execer, ok = base.(driver.StmtExecContext); !ok {
		s.execer = legacyStmt{base}
	}
	if s.queryer, ok = base.(driver.StmtQueryContext); !ok {
		s.queryer = legacyStmt{base}
	}
	if checker, ok := base.(driver.NamedValueChecker); ok {
		s.checker = checker
	}
	if converter, ok := base.(driver.ColumnConverter); ok {
		return convertingStmt{s, converter}
	}
	return s
}

// convertingStmt is a statement that implements driver.ColumnConverter.
type convertingStmt struct {
	*stmt
	converter driver.ColumnConverter
}

func (c convertingStmt) ColumnConverter(index int) driver.ValueConverter {
	return c.converter.ColumnConverter(index)
}

func (s *stmt) Close() error  { return s.base.Close() }
func (s *stmt) NumInput() int { return s.base.NumInput() }

func (s *stmt) CheckNamedValue(value *driver.NamedValue) error {
	if s.checker != nil {
		return s.checker.CheckNamedValue(value)
	}
	return driver.ErrSkip
}

func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), namedValues(args))
}

// ExecContext calls ExecContext of the driver's statement.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if probes.StmtExecEnabled() || probes.StmtExecDoneEnabled() {
		return s.execTraced(ctx, args)
	}
	return s.execer.ExecContext(ctx, args)
}

func (s *stmt) execTraced(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	start := time.Now()
	probes.StmtExec(s.query)
	result, err := s.execer.ExecContext(ctx, args)
	probes.StmtExecDone(s.query, time.Since(start), err)
	return result, err
}

func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), namedValues(args))
}

// QueryContext calls QueryContext of the driver's statement.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if probes.StmtQueryEnabled() || probes.StmtQueryDoneEnabled() {
		return s.queryTraced(ctx, args)
	}
	return s.queryer.QueryContext(ctx, args)
}

func (s *stmt) queryTraced(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	start := time.Now()
	probes.StmtQuery(s.query)
	rows, err := s.queryer.QueryContext(ctx, args)
	probes.StmtQueryDone(s.query, time.Since(start), err)
	return rows, err
}

// legacyStmt adapts a statement whose driver does not support contexts.
type legacyStmt struct{ base driver.Stmt }

func (l legacyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	values, err := positionalValues(ctx, args)
	if err != nil {
		return nil, err
	}
	return l.base.Exec(values)
}

func (l legacyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	values, err := positionalValues(ctx, args)
	if err != nil {
		return nil, err
	}
	return l.base.Query(values)
}

// namedValues converts arguments of the deprecated methods Exec and Query.
func namedValues(values []driver.Value) []driver.NamedValue {
	args := make([]driver.NamedValue, len(values))
	for i, value := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	return args
}
