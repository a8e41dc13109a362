package usdtsql

import (
	"context"
	"database/sql/driver"
	"time"

	"usdt.local/go-stubs/usdtsql/internal/probes"
)

// stmt is a prepared statement.
type stmt struct {
	base    driver.Stmt
	text    string
	execer  driver.StmtExecContext
	queryer driver.StmtQueryContext
	checker driver.NamedValueChecker
}

// newStmt wraps a statement. One that converts by columns says so, for database/sql to ask it.
func newStmt(base driver.Stmt, conn *conn, query string) driver.Stmt {
	s := &stmt{base: base, text: query, checker: conn.checker}
	var ok bool
	if s.execer, ok = base.(driver.StmtExecContext); !ok {
		s.execer = older{base}
	}
	if s.queryer, ok = base.(driver.StmtQueryContext); !ok {
		s.queryer = older{base}
	}
	if checker, ok := base.(driver.NamedValueChecker); ok {
		s.checker = checker
	}
	if converter, ok := base.(driver.ColumnConverter); ok {
		return converting{s, converter}
	}
	return s
}

type converting struct {
	*stmt
	converter driver.ColumnConverter
}

func (c converting) ColumnConverter(index int) driver.ValueConverter {
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
	return s.ExecContext(context.Background(), named(args))
}

// ExecContext has the driver carry out the statement.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if probes.StmtExecEnabled() || probes.StmtExecDoneEnabled() {
		return s.execTraced(ctx, args)
	}
	return s.execer.ExecContext(ctx, args)
}

func (s *stmt) execTraced(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	start := time.Now()
	probes.StmtExec(s.text)
	result, err := s.execer.ExecContext(ctx, args)
	probes.StmtExecDone(s.text, int64(time.Since(start)), err)
	return result, err
}

func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

// QueryContext has the driver carry out the statement.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if probes.StmtQueryEnabled() || probes.StmtQueryDoneEnabled() {
		return s.queryTraced(ctx, args)
	}
	return s.queryer.QueryContext(ctx, args)
}

func (s *stmt) queryTraced(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	start := time.Now()
	probes.StmtQuery(s.text)
	rows, err := s.queryer.QueryContext(ctx, args)
	probes.StmtQueryDone(s.text, int64(time.Since(start)), err)
	return rows, err
}

// older is a statement that knows no contexts.
type older struct{ base driver.Stmt }

func (o older) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	values, err := positional(ctx, args)
	if err != nil {
		return nil, err
	}
	return o.base.Exec(values)
}

func (o older) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	values, err := positional(ctx, args)
	if err != nil {
		return nil, err
	}
	return o.base.Query(values)
}

func named(values []driver.Value) []driver.NamedValue {
	args := make([]driver.NamedValue, len(values))
	for i, value := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	return args
}
