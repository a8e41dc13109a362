package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"usdt.local/go-stubs/libraries/usdtpgx"
)

func queryPostgres() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	go servePostgres(listener)
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://user@%s/shop?sslmode=disable", listener.Addr()))
	must(err)
	config.Tracer = usdtpgx.NewTracer()
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	must(err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "DELETE FROM orders")
	must(err)
	_, err = conn.Exec(ctx, "BAD")
	mustFail(err)
	_, err = conn.Prepare(ctx, "count", "SELECT count(*) FROM orders")
	must(err)
	batch := &pgx.Batch{}
	batch.Queue("UPDATE orders SET paid = true")
	batch.Queue("DELETE FROM carts")
	must(conn.SendBatch(ctx, batch).Close())
}

// servePostgres accepts one connection. It answers statements without rows; those that begin with
// BAD fail.
func servePostgres(listener net.Listener) {
	conn, err := listener.Accept()
	must(err)
	server := pgproto3.NewBackend(conn, conn)
	_, err = server.ReceiveStartupMessage()
	must(err)
	ready := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	server.Send(&pgproto3.AuthenticationOk{})
	server.Send(ready)
	for server.Flush() == nil {
		message, err := server.Receive()
		if err != nil {
			return
		}
		switch message := message.(type) {
		case *pgproto3.Query:
			if strings.HasPrefix(message.String, "BAD") {
				server.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: "bad statement"})
			} else {
				server.Send(&pgproto3.CommandComplete{CommandTag: []byte("DELETE 1")})
			}
			server.Send(ready)
		case *pgproto3.Parse:
			if strings.HasPrefix(message.Query, "BAD") {
				server.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: "bad statement"})
			} else {
				server.Send(&pgproto3.ParseComplete{})
			}
		case *pgproto3.Describe:
			if message.ObjectType == 'S' {
				server.Send(&pgproto3.ParameterDescription{})
			}
			server.Send(&pgproto3.NoData{})
		case *pgproto3.Bind:
			server.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			server.Send(&pgproto3.CommandComplete{CommandTag: []byte("DELETE 1")})
		case *pgproto3.Sync:
			server.Send(ready)
		}
	}
}
