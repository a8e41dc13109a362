//go:debug httpmuxgo121=0

// Packages uses the ready-made packages, or with -linger waits for a snapshot of its flight recorder.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"usdt.local/go-stubs/usdthttp"
	"usdt.local/go-stubs/usdtslog"
	"usdt.local/go-stubs/usdtsql"
	"usdt.local/go-stubs/usdttrace"
)

func main() {
	linger := flag.Duration("linger", 0, "run a flight recorder for so long, with snapshots in -dir")
	dir := flag.String("dir", "", "where snapshots go")
	slow := flag.Bool("slow", false, "ask for a snapshot when the recorder runs")
	flag.Parse()
	if *linger > 0 {
		flight(*linger, *dir, *slow)
		return
	}
	requests()
	statements()
	records()
	tasks()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func requests() {
	mux := http.NewServeMux()
	mux.HandleFunc("/items/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "twelve bytes") })
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(usdthttp.Handler(mux))
	client := http.Client{Transport: usdthttp.Transport(nil)}
	for _, path := range []string{"/items/1", "/missing", "/panic"} {
		request, err := http.NewRequest("GET", server.URL+path, nil)
		must(err)
		request.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		if response, err := client.Do(request); err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			must(err)
			response.Body.Close()
		}
	}
	server.Close()
}

type memory struct{}

var errBad = errors.New("bad statement")

func check(query string) error {
	if strings.HasPrefix(query, "BAD") {
		return errBad
	}
	return nil
}

func (memory) Open(string) (driver.Conn, error)          { return memory{}, nil }
func (memory) Close() error                              { return nil }
func (memory) Begin() (driver.Tx, error)                 { return memory{}, nil }
func (memory) Commit() error                             { return nil }
func (memory) Rollback() error                           { return errBad }
func (memory) Prepare(query string) (driver.Stmt, error) { return statement(query), check(query) }
func (memory) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), check(query)
}

type statement string

func (s statement) Close() error                               { return nil }
func (s statement) NumInput() int                              { return -1 }
func (s statement) Exec([]driver.Value) (driver.Result, error) { return driver.RowsAffected(1), nil }
func (s statement) Query([]driver.Value) (driver.Rows, error)  { return rows{}, nil }

type rows struct{}

func (rows) Columns() []string         { return []string{"n"} }
func (rows) Close() error              { return nil }
func (rows) Next([]driver.Value) error { return io.EOF }

func statements() {
	sql.Register("memory", usdtsql.Driver(memory{}))
	db, err := sql.Open("memory", "")
	must(err)
	_, err = db.Exec("INSERT 1")
	must(err)
	if _, err = db.Exec("BAD 1"); err != errBad {
		panic("a bad statement was executed")
	}
	found, err := db.Query("SELECT 1")
	must(err)
	must(found.Close())
	tx, err := db.Begin()
	must(err)
	must(tx.Commit())
	tx, err = db.Begin()
	must(err)
	if err = tx.Rollback(); err != errBad {
		panic("it was rolled back")
	}
}

func records() {
	logger := slog.New(usdtslog.Handler(slog.NewTextHandler(io.Discard, nil))).With("a", 1).WithGroup("g")
	logger.Debug("below the level", "b", "two words")
	logger.Error("it broke", "err", errBad)
}

func tasks() {
	ctx, outer := usdttrace.NewTask(context.Background(), "outer")
	inner, task := usdttrace.NewTask(ctx, "inner")
	usdttrace.WithRegion(inner, "region", func() { time.Sleep(time.Millisecond) })
	usdttrace.Log(inner, "category", "message")
	usdttrace.Logf(context.Background(), "category", "%d%%", 7)
	task.End()
	outer.End()
	fmt.Println("done")
}
