package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
)

// A driver that keeps nothing; statements that begin with BAD fail.
type (
	memory     struct{}
	connection struct{}
	statement  struct{ query string }
	rows       struct{}
)

var errBad = errors.New("bad statement")

func check(query string) error {
	if len(query) >= 3 && query[:3] == "BAD" {
		return errBad
	}
	return nil
}

func (memory) Open(string) (driver.Conn, error) { return connection{}, nil }

func (connection) Prepare(query string) (driver.Stmt, error) { return statement{query}, check(query) }
func (connection) Close() error                              { return nil }
func (connection) Begin() (driver.Tx, error)                 { return connection{}, nil }
func (connection) Commit() error                             { return nil }
func (connection) Rollback() error                           { return nil }

func (s statement) Close() error  { return nil }
func (s statement) NumInput() int { return -1 }
func (s statement) Exec([]driver.Value) (driver.Result, error) {
	return driver.RowsAffected(1), check(s.query)
}
func (s statement) Query([]driver.Value) (driver.Rows, error) { return rows{}, check(s.query) }

func (rows) Columns() []string         { return []string{"n"} }
func (rows) Close() error              { return nil }
func (rows) Next([]driver.Value) error { return io.EOF }

func database(did *facts) {
	sql.Register("memory", memory{})
	db, err := sql.Open("memory", "")
	must(err)
	ctx := context.Background()
	did.Statements = map[string][]string{
		"prepare": {"INSERT prepared", "SELECT prepared"}, "exec": {"INSERT 1", "BAD 1"}, "query": {"SELECT 1", "SELECT tx"},
		"stmt_exec": {"INSERT prepared"}, "stmt_query": {"SELECT prepared"},
	}
	_, err = db.ExecContext(ctx, "INSERT 1", 1)
	must(err)
	if _, err = db.Exec("BAD 1"); err == nil {
		panic("a bad statement was executed")
	}
	found, err := db.Query("SELECT 1")
	must(err)
	must(found.Close())
	insert, err := db.Prepare("INSERT prepared")
	must(err)
	_, err = insert.Exec(1)
	must(err)
	must(insert.Close())
	query, err := db.Prepare("SELECT prepared")
	must(err)
	found, err = query.Query()
	must(err)
	must(found.Close())
	must(query.Close())
	tx, err := db.Begin()
	must(err)
	found, err = tx.Query("SELECT tx")
	must(err)
	must(found.Close())
	must(tx.Commit())
	tx, err = db.Begin()
	must(err)
	must(tx.Rollback())
	must(db.Close())
}
