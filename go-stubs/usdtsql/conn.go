package usdtsql

//lint:file-ignore SA1019 Drivers that implement only the deprecated interfaces are supported.

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"usdt.local/go-stubs/usdtsql/internal/probes"
)

// conn wraps a connection. It looks up the optional interfaces of the driver's connection once.
type conn struct {
	base      driver.Conn
	execer    driver.ExecerContext
	queryer   driver.QueryerContext
	preparer  driver.ConnPrepareContext
	beginner  driver.ConnBeginTx
	pinger    driver.Pinger
	resetter  driver.SessionResetter
	validator driver.Validator
	checker   driver.NamedValueChecker
	// tx is part of the connection, which has one transaction at a time. Beginning a transaction
	// thus allocates nothing.
	tx tx
}

func newConn(base driver.Conn) *conn {
	c := &conn{base: base, execer: skipStatements{}, queryer: skipStatements{}}
	switch base := base.(type) {
	case driver.ExecerContext:
		c.execer = base
	case driver.Execer:
		c.execer = legacyExecer{base}
	}
	switch base := base.(type) {
	case driver.QueryerContext:
		c.queryer = base
	case driver.Queryer:
		c.queryer = legacyQueryer{base}
	}
	c.preparer, _ = base.(driver.ConnPrepareContext)
	c.beginner, _ = base.(driver.ConnBeginTx)
	c.pinger, _ = base.(driver.Pinger)
	c.resetter, _ = base.(driver.SessionResetter)
	c.validator, _ = base.(driver.Validator)
	c.checker, _ = base.(driver.NamedValueChecker)
	return c
}

// skipStatements is the executor of a driver that cannot run statements directly. It makes
// database/sql prepare them.
type skipStatements struct{}

func (skipStatements) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, driver.ErrSkip
}

func (skipStatements) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, driver.ErrSkip
}

// legacyExecer adapts a connection whose driver does not support contexts.
type legacyExecer struct{ base driver.Execer }

func (e legacyExecer) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	values, err := positionalValues(ctx, args)
	if err != nil {
		return nil, err
	}
	return e.base.Exec(query, values)
}

// legacyQueryer adapts a connection whose driver does not support contexts.
type legacyQueryer struct{ base driver.Queryer }

func (q legacyQueryer) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	values, err := positionalValues(ctx, args)
	if err != nil {
		return nil, err
	}
	return q.base.Query(query, values)
}

// Raw returns the driver's own connection. Functions passed to sql.Conn.Raw can call it.
func (c *conn) Raw() driver.Conn { return c.base }

func (c *conn) Close() error { return c.base.Close() }

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	var base driver.Stmt
	var err error
	if probes.PrepareEnabled() || probes.PrepareDoneEnabled() {
		start := time.Now()
		probes.Prepare(query)
		base, err = c.prepare(ctx, query)
		probes.PrepareDone(query, time.Since(start), err)
	} else {
		base, err = c.prepare(ctx, query)
	}
	if err != nil {
		return nil, err
	}
	return newStmt(base, c, query), nil
}

func (c *conn) prepare(ctx context.Context, query string) (driver.Stmt, error) {
	if c.preparer != nil {
		return c.preparer.PrepareContext(ctx, query)
	}
	base, err := c.base.Prepare(query)
	if err == nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), base.Close())
	}
	return base, err
}

// ExecContext calls ExecContext of the driver's connection.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if probes.ExecEnabled() || probes.ExecDoneEnabled() {
		return c.execTraced(ctx, query, args)
	}
	return c.execer.ExecContext(ctx, query, args)
}

func (c *conn) execTraced(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.execer == (skipStatements{}) {
		return nil, driver.ErrSkip
	}
	start := time.Now()
	probes.Exec(query)
	result, err := c.execer.ExecContext(ctx, query, args)
	// After ErrSkip, database/sql uses a prepared statement, which has its own probes.
	if err != driver.ErrSkip {
		probes.ExecDone(query, time.Since(start), err)
	}
	return result, err
}

// QueryContext calls QueryContext of the driver's connection.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if probes.QueryEnabled() || probes.QueryDoneEnabled() {
		return c.queryTraced(ctx, query, args)
	}
	return c.queryer.QueryContext(ctx, query, args)
}

func (c *conn) queryTraced(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.queryer == (skipStatements{}) {
		return nil, driver.ErrSkip
	}
	start := time.Now()
	probes.Query(query)
	rows, err := c.queryer.QueryContext(ctx, query, args)
	// After ErrSkip, database/sql uses a prepared statement, which has its own probes.
	if err != driver.ErrSkip {
		probes.QueryDone(query, time.Since(start), err)
	}
	return rows, err
}

func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c *conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	probes.TxBegin()
	base, err := c.begin(ctx, options)
	if err != nil {
		return nil, err
	}
	c.tx.base = base
	return &c.tx, nil
}

// begin begins a transaction. It rejects the options that database/sql rejects if a driver has no
// driver.ConnBeginTx.
func (c *conn) begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if c.beginner != nil {
		return c.beginner.BeginTx(ctx, options)
	}
	if options.Isolation != 0 {
		return nil, errors.New("sql: driver does not support non-default isolation level")
	}
	if options.ReadOnly {
		return nil, errors.New("sql: driver does not support read-only transactions")
	}
	base, err := c.base.Begin()
	if err == nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), base.Rollback())
	}
	return base, err
}

func (c *conn) Ping(ctx context.Context) error {
	if c.pinger != nil {
		return c.pinger.Ping(ctx)
	}
	return nil
}

func (c *conn) ResetSession(ctx context.Context) error {
	if c.resetter != nil {
		return c.resetter.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	return c.validator == nil || c.validator.IsValid()
}

func (c *conn) CheckNamedValue(value *driver.NamedValue) error {
	if c.checker != nil {
		return c.checker.CheckNamedValue(value)
	}
	return driver.ErrSkip
}

type tx struct{ base driver.Tx }

func (t *tx) Commit() error {
	if probes.TxCommitEnabled() {
		start := time.Now()
		err := t.base.Commit()
		probes.TxCommit(time.Since(start), err)
		return err
	}
	return t.base.Commit()
}

func (t *tx) Rollback() error {
	if probes.TxRollbackEnabled() {
		start := time.Now()
		err := t.base.Rollback()
		probes.TxRollback(time.Since(start), err)
		return err
	}
	return t.base.Rollback()
}

// positionalValues converts arguments for drivers that do not support contexts and named
// parameters.
func positionalValues(ctx context.Context, args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, arg := range args {
		if arg.Name != "" {
			return nil, errors.New("sql: driver does not support the use of Named Parameters")
		}
		values[i] = arg.Value
	}
	return values, ctx.Err()
}
