package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
)

// A driver that stores nothing. Statements that start with BAD fail.
type (
	memoryDriver struct{}
	connection   struct{}
	statement    struct{ query string }
	rows         struct{}
)

var errBadStatement = errors.New("bad statement")

func checkQuery(query string) error {
	if len(query) >= 3 && query[:3] == "BAD" {
		return errBadStatement
	}
	return nil
}

func (memoryDriver) Open(string) (driver.Conn, error) { return connection{}, nil }

func (connection) Prepare(query string) (driver.Stmt, error) {
	return statement{query}, checkQuery(query)
}
func (connection) Close() error              { return nil }
func (connection) Begin() (driver.Tx, error) { return connection{}, nil }
func (connection) Commit() error             { return nil }
func (connection) Rollback() error           { return nil }

func (s statement) Close() error  { return nil }
func (s statement) NumInput() int { return -1 }
func (s statement) Exec([]driver.Value) (driver.Result, error) {
	return driver.RowsAffected(1), checkQuery(s.query)
}
func (s statement) Query([]driver.Value) (driver.Rows, error) { return rows{}, checkQuery(s.query) }

func (rows) Columns() []string         { return []string{"n"} }
func (rows) Close() error              { return nil }
func (rows) Next([]driver.Value) error { return io.EOF }

// useDatabase runs statements and transactions, and records them in did.
func useDatabase(did *facts) {
	sql.Register("memory", memoryDriver{})
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
		panic("BAD 1 did not fail")
	}
	result, err := db.Query("SELECT 1")
	must(err)
	must(result.Close())
	insert, err := db.Prepare("INSERT prepared")
	must(err)
	_, err = insert.Exec(1)
	must(err)
	must(insert.Close())
	query, err := db.Prepare("SELECT prepared")
	must(err)
	result, err = query.Query()
	must(err)
	must(result.Close())
	must(query.Close())
	tx, err := db.Begin()
	must(err)
	result, err = tx.Query("SELECT tx")
	must(err)
	must(result.Close())
	must(tx.Commit())
	tx, err = db.Begin()
	must(err)
	must(tx.Rollback())
	must(db.Close())
}
