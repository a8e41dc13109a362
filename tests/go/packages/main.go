//go:debug httpmuxgo121=0

// Packages fires the probes of the ready-made packages. With -linger, it runs their flight recorder
// instead.
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
	linger := flag.Duration("linger", 0, "run the flight recorder for this time, with snapshots in -dir")
	dir := flag.String("dir", "", "directory of the snapshots")
	slow := flag.Bool("slow", false, "request a snapshot when the recorder runs")
	flag.Parse()
	if *linger > 0 {
		runRecorder(*linger, *dir, *slow)
		return
	}
	sendRequests()
	runStatements()
	logRecords()
	runTasks()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func sendRequests() {
	mux := http.NewServeMux()
	mux.HandleFunc("/items/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "twelve bytes") })
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(usdthttp.NewHandler(mux))
	client := http.Client{Transport: usdthttp.NewTransport(nil)}
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

// memoryDriver is a driver, connection and transaction that stores nothing. Statements that start
// with BAD and rollbacks fail.
type memoryDriver struct{}

var errBadStatement = errors.New("bad statement")

func checkQuery(query string) error {
	if strings.HasPrefix(query, "BAD") {
		return errBadStatement
	}
	return nil
}

func (memoryDriver) Open(string) (driver.Conn, error) { return memoryDriver{}, nil }
func (memoryDriver) Close() error                     { return nil }
func (memoryDriver) Begin() (driver.Tx, error)        { return memoryDriver{}, nil }
func (memoryDriver) Commit() error                    { return nil }
func (memoryDriver) Rollback() error                  { return errBadStatement }
func (memoryDriver) Prepare(query string) (driver.Stmt, error) {
	return statement(query), checkQuery(query)
}
func (memoryDriver) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), checkQuery(query)
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

func runStatements() {
	sql.Register("memory", usdtsql.NewDriver(memoryDriver{}))
	db, err := sql.Open("memory", "")
	must(err)
	_, err = db.Exec("INSERT 1")
	must(err)
	if _, err = db.Exec("BAD 1"); err != errBadStatement {
		panic("BAD 1 did not fail")
	}
	result, err := db.Query("SELECT 1")
	must(err)
	must(result.Close())
	tx, err := db.Begin()
	must(err)
	must(tx.Commit())
	tx, err = db.Begin()
	must(err)
	if err = tx.Rollback(); err != errBadStatement {
		panic("the rollback did not fail")
	}
}

func logRecords() {
	logger := slog.New(usdtslog.NewHandler(slog.NewTextHandler(io.Discard, nil))).With("a", 1).WithGroup("g")
	logger.Debug("below the level", "b", "two words")
	logger.Error("it broke", "err", errBadStatement)
}

func runTasks() {
	ctx, outer := usdttrace.NewTask(context.Background(), "outer")
	inner, task := usdttrace.NewTask(ctx, "inner")
	usdttrace.WithRegion(inner, "region", func() { time.Sleep(time.Millisecond) })
	usdttrace.Log(inner, "category", "message")
	usdttrace.Logf(context.Background(), "category", "%d%%", 7)
	task.End()
	outer.End()
	fmt.Println("done")
}
