package main

import (
	"context"
	"database/sql"
	"net"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

// queryDatabases does the same with each driver.
func queryDatabases() {
	for _, d := range []struct {
		driver, source string
		serve          func(net.Conn)
	}{
		{"postgres", "postgres://user@ADDRESS/shop?sslmode=disable", servePostgres},
		{"pgx", "postgres://user@ADDRESS/shop?sslmode=disable&default_query_exec_mode=exec", servePostgres},
		{"mysql", "user@tcp(ADDRESS)/shop?interpolateParams=true", serveMySQL},
	} {
		address, stop := serve(d.serve)
		db, err := sql.Open(d.driver, replaceAddress(d.source, address))
		must(err)
		// One connection, so that the number of connections is the same in every run.
		db.SetMaxOpenConns(1)
		queryDatabase(db)
		must(db.Close())
		stop()
	}
}

func queryDatabase(db *sql.DB) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := db.ExecContext(ctx, "DELETE FROM orders")
	must(err)
	_, err = db.ExecContext(ctx, "BAD")
	mustFail(err)
	queried(db.QueryContext(ctx, "SELECT id FROM orders"))
	stmt, err := db.PrepareContext(ctx, "UPDATE orders SET paid = true")
	must(err)
	_, err = stmt.ExecContext(ctx)
	must(err)
	queried(stmt.QueryContext(ctx))
	must(stmt.Close())
	tx, err := db.BeginTx(ctx, nil)
	must(err)
	_, err = tx.ExecContext(ctx, "DELETE FROM carts")
	must(err)
	queried(tx.QueryContext(ctx, "SELECT id FROM carts"))
	must(tx.Commit())
	tx, err = db.BeginTx(ctx, nil)
	must(err)
	must(tx.Rollback())
	conn, err := db.Conn(ctx)
	must(err)
	_, err = conn.ExecContext(ctx, "DELETE FROM visits")
	must(err)
	queried(conn.QueryContext(ctx, "SELECT id FROM visits"))
	must(conn.Close())
}

func queried(rows *sql.Rows, err error) {
	must(err)
	must(rows.Close())
}
