package usdtsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
)

// Two drivers that log their calls: minimalDriver implements only the required interfaces,
// fullDriver also the optional ones. Each of the types is its driver's connector, connection and
// transaction, too.
type (
	minimalDriver struct{ log *[]string }
	fullDriver    struct{ minimalDriver }
	statement     struct{ minimalDriver }
	rows          struct{}
	// customValue is a type that only fullDriver accepts as an argument.
	customValue string
)

func (d minimalDriver) note(format string, args ...any) {
	*d.log = append(*d.log, fmt.Sprintf(format, args...))
}

func (d minimalDriver) Open(name string) (driver.Conn, error) { return d, nil }
func (d minimalDriver) Prepare(query string) (driver.Stmt, error) {
	d.note("prepare %s", query)
	if query == "bad" {
		return nil, errors.New("bad")
	}
	return statement{d}, nil
}
func (d minimalDriver) Close() error              { d.note("close"); return nil }
func (d minimalDriver) Begin() (driver.Tx, error) { d.note("begin"); return d, nil }
func (d minimalDriver) Commit() error             { d.note("commit"); return nil }
func (d minimalDriver) Rollback() error           { d.note("rollback"); return nil }

func (s statement) NumInput() int { return -1 }
func (s statement) Exec(args []driver.Value) (driver.Result, error) {
	s.note("exec %v", args)
	return driver.RowsAffected(1), nil
}
func (s statement) Query(args []driver.Value) (driver.Rows, error) {
	s.note("query %v", args)
	return rows{}, nil
}
func (s statement) ColumnConverter(int) driver.ValueConverter { return exclaim{} }

// exclaim is a converter whose effect the log shows.
type exclaim struct{}

func (exclaim) ConvertValue(value any) (driver.Value, error) { return fmt.Sprint(value, "!"), nil }

func (rows) Columns() []string         { return []string{"n"} }
func (rows) Close() error              { return nil }
func (rows) Next([]driver.Value) error { return io.EOF }

func (d fullDriver) Open(string) (driver.Conn, error)               { return d, nil }
func (d fullDriver) OpenConnector(string) (driver.Connector, error) { return d, nil }
func (d fullDriver) Connect(context.Context) (driver.Conn, error)   { return d, nil }
func (d fullDriver) Driver() driver.Driver                          { return d }
func (d fullDriver) Ping(context.Context) error                     { d.note("ping"); return nil }
func (d fullDriver) ResetSession(context.Context) error             { d.note("reset"); return nil }
func (d fullDriver) IsValid() bool                                  { return true }
func (d fullDriver) CheckNamedValue(value *driver.NamedValue) error {
	if custom, ok := value.Value.(customValue); ok {
		value.Value = "custom " + string(custom)
		return nil
	}
	return driver.ErrSkip
}
func (d fullDriver) BeginTx(_ context.Context, options driver.TxOptions) (driver.Tx, error) {
	d.note("begin %v", options)
	return d, nil
}
func (d fullDriver) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if query == "skip" {
		return nil, driver.ErrSkip
	}
	d.note("exec %s %v", query, args)
	return driver.RowsAffected(1), nil
}
func (d fullDriver) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	d.note("query %s %v", query, args)
	return rows{}, nil
}

// exerciseDB calls every operation of db and returns the resulting errors.
func exerciseDB(db *sql.DB) (errs []string) {
	ctx := context.Background()
	note := func(err error) { errs = append(errs, fmt.Sprint(err)) }
	note(db.PingContext(ctx))
	_, err := db.ExecContext(ctx, "INSERT", 1, "two")
	note(err)
	_, err = db.ExecContext(ctx, "INSERT", customValue("x"))
	note(err)
	_, err = db.ExecContext(ctx, "INSERT", sql.Named("name", 1))
	note(err)
	_, err = db.ExecContext(ctx, "skip", 3)
	note(err)
	result, err := db.QueryContext(ctx, "SELECT", 4)
	note(err)
	note(result.Close())
	_, err = db.PrepareContext(ctx, "bad")
	note(err)
	prepared, err := db.PrepareContext(ctx, "SELECT")
	note(err)
	_, err = prepared.ExecContext(ctx, 5)
	note(err)
	result, err = prepared.QueryContext(ctx, 6)
	note(err)
	note(result.Close())
	note(prepared.Close())
	for _, options := range []*sql.TxOptions{nil, {ReadOnly: true}, {Isolation: sql.LevelSerializable}} {
		tx, err := db.BeginTx(ctx, options)
		note(err)
		if err == nil {
			note(tx.Commit())
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	note(err)
	note(tx.Rollback())
	note(db.Close())
	return errs
}

func TestWrappedDriversGetTheSameCalls(t *testing.T) {
	for name, base := range map[string]func(*[]string) driver.Driver{
		"minimal": func(log *[]string) driver.Driver { return minimalDriver{log} },
		"full":    func(log *[]string) driver.Driver { return fullDriver{minimalDriver{log}} },
	} {
		var directLog, driverLog, connectorLog []string
		run := func(kind string, open func() driver.Driver) []string {
			sql.Register(name+kind, open())
			db, err := sql.Open(name+kind, "")
			if err != nil {
				t.Fatal(err)
			}
			return exerciseDB(db)
		}
		check := func(kind string, got, want []string) {
			t.Helper()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s driver: %s differ:\ngot  %q\nwant %q", name, kind, got, want)
			}
		}
		want := run("direct", func() driver.Driver { return base(&directLog) })
		got := run("wrapped", func() driver.Driver { return NewDriver(base(&driverLog)) })
		check("errors of NewDriver", got, want)
		check("calls of NewDriver", driverLog, directLog)
		if connector, ok := base(&connectorLog).(driver.Connector); ok {
			check("errors of NewConnector", exerciseDB(sql.OpenDB(NewConnector(connector))), want)
			check("calls of NewConnector", connectorLog, directLog)
		}
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	ctx, log := context.Background(), []string{}
	c := newConn(silentConn{fullDriver{minimalDriver{&log}}})
	s := newStmt(silentStmt{}, c, "SELECT").(*stmt)
	if n := testing.AllocsPerRun(1000, func() {
		c.ExecContext(ctx, "INSERT", nil)
		c.QueryContext(ctx, "SELECT", nil)
		s.ExecContext(ctx, nil)
		s.QueryContext(ctx, nil)
		transaction, _ := c.BeginTx(ctx, driver.TxOptions{})
		transaction.Commit()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// silentConn is a connection that does nothing.
type silentConn struct{ fullDriver }

func (silentConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, nil
}
func (silentConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, nil
}
func (silentConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return &silentTx, nil
}

var silentTx silentStmt

// silentStmt is a statement and a transaction that do nothing.
type silentStmt struct{ driver.Stmt }

func (silentStmt) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	return nil, nil
}
func (silentStmt) QueryContext(context.Context, []driver.NamedValue) (driver.Rows, error) {
	return nil, nil
}
func (silentStmt) Commit() error   { return nil }
func (silentStmt) Rollback() error { return nil }

func BenchmarkExec(b *testing.B) {
	ctx, base := context.Background(), silentConn{}
	for name, execer := range map[string]driver.ExecerContext{
		"direct": base, "between": &passThrough{base}, "wrapped": newConn(base),
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				execer.ExecContext(ctx, "INSERT", nil)
			}
		})
	}
}

// passThrough is a wrapper that only calls what it wraps: the minimum cost of any wrapper.
type passThrough struct{ next driver.ExecerContext }

func (p *passThrough) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return p.next.ExecContext(ctx, query, args)
}
