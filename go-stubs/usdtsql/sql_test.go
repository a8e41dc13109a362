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

// Drivers note what is asked of them; there is one that can do as little as drivers may, and one that can do more.
type (
	little  struct{ log *[]string }
	more    struct{ little }
	rows    struct{}
	text    string
	minimal struct{ little }
)

func (l little) note(format string, args ...any) {
	*l.log = append(*l.log, fmt.Sprintf(format, args...))
}

func (l little) Open(name string) (driver.Conn, error) { return l, nil }
func (l little) Prepare(query string) (driver.Stmt, error) {
	l.note("prepare %s", query)
	if query == "bad" {
		return nil, errors.New("bad")
	}
	return minimal{l}, nil
}
func (l little) Close() error              { l.note("close"); return nil }
func (l little) Begin() (driver.Tx, error) { l.note("begin"); return l, nil }
func (l little) Commit() error             { l.note("commit"); return nil }
func (l little) Rollback() error           { l.note("rollback"); return nil }

func (m minimal) NumInput() int { return -1 }
func (m minimal) Exec(args []driver.Value) (driver.Result, error) {
	m.note("exec %v", args)
	return driver.RowsAffected(1), nil
}
func (m minimal) Query(args []driver.Value) (driver.Rows, error) {
	m.note("query %v", args)
	return rows{}, nil
}
func (m minimal) ColumnConverter(int) driver.ValueConverter { return shouting{} }

type shouting struct{}

func (shouting) ConvertValue(value any) (driver.Value, error) { return fmt.Sprint(value, "!"), nil }

func (rows) Columns() []string         { return []string{"n"} }
func (rows) Close() error              { return nil }
func (rows) Next([]driver.Value) error { return io.EOF }

func (m more) Open(string) (driver.Conn, error)               { return m, nil }
func (m more) OpenConnector(string) (driver.Connector, error) { return m, nil }
func (m more) Connect(context.Context) (driver.Conn, error)   { return m, nil }
func (m more) Driver() driver.Driver                          { return m }
func (m more) Ping(context.Context) error                     { m.note("ping"); return nil }
func (m more) ResetSession(context.Context) error             { m.note("reset"); return nil }
func (m more) IsValid() bool                                  { return true }
func (m more) CheckNamedValue(value *driver.NamedValue) error {
	if special, ok := value.Value.(text); ok {
		value.Value = "special " + string(special)
		return nil
	}
	return driver.ErrSkip
}
func (m more) BeginTx(_ context.Context, options driver.TxOptions) (driver.Tx, error) {
	m.note("begin %v", options)
	return m, nil
}
func (m more) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if query == "skip" {
		return nil, driver.ErrSkip
	}
	m.note("exec %s %v", query, args)
	return driver.RowsAffected(1), nil
}
func (m more) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	m.note("query %s %v", query, args)
	return rows{}, nil
}

// use does everything that programs do, and returns what went wrong.
func use(db *sql.DB) (problems []string) {
	ctx := context.Background()
	note := func(err error) { problems = append(problems, fmt.Sprint(err)) }
	note(db.PingContext(ctx))
	_, err := db.ExecContext(ctx, "INSERT", 1, "two")
	note(err)
	_, err = db.ExecContext(ctx, "INSERT", text("x"))
	note(err)
	_, err = db.ExecContext(ctx, "INSERT", sql.Named("name", 1))
	note(err)
	_, err = db.ExecContext(ctx, "skip", 3)
	note(err)
	found, err := db.QueryContext(ctx, "SELECT", 4)
	note(err)
	note(found.Close())
	_, err = db.PrepareContext(ctx, "bad")
	note(err)
	statement, err := db.PrepareContext(ctx, "SELECT")
	note(err)
	_, err = statement.ExecContext(ctx, 5)
	note(err)
	found, err = statement.QueryContext(ctx, 6)
	note(err)
	note(found.Close())
	note(statement.Close())
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
	return problems
}

func TestDriversAreAskedTheSame(t *testing.T) {
	for name, base := range map[string]func(*[]string) driver.Driver{
		"little": func(log *[]string) driver.Driver { return little{log} },
		"more":   func(log *[]string) driver.Driver { return more{little{log}} },
	} {
		var direct, wrapped, connected []string
		run := func(kind string, open func() driver.Driver) []string {
			sql.Register(name+kind, open())
			db, err := sql.Open(name+kind, "")
			if err != nil {
				t.Fatal(err)
			}
			return use(db)
		}
		expected := run("direct", func() driver.Driver { return base(&direct) })
		got := run("wrapped", func() driver.Driver { return Driver(base(&wrapped)) })
		if !reflect.DeepEqual(expected, got) || !reflect.DeepEqual(direct, wrapped) {
			t.Errorf("%s:\n%q\n%q\n%q\n%q", name, expected, got, direct, wrapped)
		}
		if connector, ok := base(&connected).(driver.Connector); ok {
			got = use(sql.OpenDB(Connector(connector)))
			if !reflect.DeepEqual(expected, got) || !reflect.DeepEqual(direct, connected) {
				t.Errorf("%s:\n%q\n%q\n%q\n%q", name, expected, got, direct, connected)
			}
		}
	}
}

func TestOffAddsNoAllocation(t *testing.T) {
	ctx, log := context.Background(), []string{}
	c := newConn(quiet{more{little{&log}}})
	s := newStmt(still{}, c, "SELECT").(*stmt)
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

type quiet struct{ more }

func (quiet) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, nil
}
func (quiet) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, nil
}
func (quiet) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) { return &done, nil }

var done still

type still struct{ driver.Stmt }

func (still) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	return nil, nil
}
func (still) QueryContext(context.Context, []driver.NamedValue) (driver.Rows, error) { return nil, nil }
func (still) Commit() error                                                          { return nil }
func (still) Rollback() error                                                        { return nil }

func BenchmarkExec(b *testing.B) {
	ctx, base := context.Background(), quiet{}
	for name, execer := range map[string]driver.ExecerContext{
		"direct": base, "between": &passing{base}, "wrapped": newConn(base),
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				execer.ExecContext(ctx, "INSERT", nil)
			}
		})
	}
}

// passing is the least that is in between.
type passing struct{ next driver.ExecerContext }

func (p *passing) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return p.next.ExecContext(ctx, query, args)
}
