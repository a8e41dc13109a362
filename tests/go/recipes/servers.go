package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// serve calls a function for each connection to a port of its own.
func serve(connection func(net.Conn)) (address string, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go connection(conn)
		}
	}()
	return listener.Addr().String(), func() { listener.Close() }
}

func replaceAddress(source, address string) string {
	return strings.Replace(source, "ADDRESS", address, 1)
}

// servePostgres answers statements without rows; those that begin with BAD fail.
func servePostgres(conn net.Conn) {
	defer conn.Close()
	server := pgproto3.NewBackend(conn, conn)
	if _, err := server.ReceiveStartupMessage(); err != nil {
		return
	}
	status := byte('I')
	ready := func() { server.Send(&pgproto3.ReadyForQuery{TxStatus: status}) }
	bad := &pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: "bad statement"}
	// complete answers a statement, and follows the state of the transaction, which drivers check.
	complete := func(statement string) {
		tag := strings.ToUpper(strings.TrimSuffix(strings.Fields(statement + " ;")[0], ";"))
		switch tag {
		case "BEGIN":
			status = 'T'
		case "COMMIT", "ROLLBACK":
			status = 'I'
		case "DELETE", "UPDATE":
			tag += " 1"
		case "SELECT":
			tag += " 0"
		}
		server.Send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
	}
	server.Send(&pgproto3.AuthenticationOk{})
	ready()
	parsed := ""
	for server.Flush() == nil {
		message, err := server.Receive()
		if err != nil {
			return
		}
		switch message := message.(type) {
		case *pgproto3.Query:
			if strings.HasPrefix(message.String, "BAD") {
				server.Send(bad)
			} else {
				complete(message.String)
			}
			ready()
		case *pgproto3.Parse:
			parsed = message.Query
			if strings.HasPrefix(message.Query, "BAD") {
				server.Send(bad)
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
			complete(parsed)
		case *pgproto3.Close:
			server.Send(&pgproto3.CloseComplete{})
		case *pgproto3.Sync:
			ready()
		case *pgproto3.Terminate:
			return
		}
	}
}

// serveMySQL accepts any user and answers statements without rows; those that begin with BAD fail.
func serveMySQL(conn net.Conn) {
	defer conn.Close()
	send := func(sequence byte, payload []byte) {
		size := len(payload)
		conn.Write(append([]byte{byte(size), byte(size >> 8), byte(size >> 16), sequence}, payload...))
	}
	// Protocol 4.1, transactions, authentication by plugins.
	const low, high = 0x0200 | 0x2000 | 0x8000, 0x0008
	greeting := append([]byte{10}, "8.0.0\x00"...)
	greeting = append(greeting, 1, 0, 0, 0)
	greeting = append(greeting, "12345678\x00"...)
	greeting = binary.LittleEndian.AppendUint16(greeting, low)
	greeting = append(greeting, 45, 2, 0)
	greeting = binary.LittleEndian.AppendUint16(greeting, high)
	greeting = append(greeting, 21)
	greeting = append(greeting, make([]byte, 10)...)
	greeting = append(greeting, "123456789012\x00mysql_native_password\x00"...)
	send(0, greeting)
	ok := []byte{0, 0, 0, 2, 0, 0, 0}
	reader := bufio.NewReader(conn)
	for isLogin := true; ; isLogin = false {
		var header [4]byte
		if _, err := io.ReadFull(reader, header[:]); err != nil {
			return
		}
		payload := make([]byte, int(header[0])|int(header[1])<<8|int(header[2])<<16)
		if _, err := io.ReadFull(reader, payload); err != nil || len(payload) == 0 {
			return
		}
		const quit, query, prepare, closeStatement = 0x01, 0x03, 0x16, 0x19
		answer := header[3] + 1
		switch {
		case isLogin:
			send(answer, ok)
		case payload[0] == quit:
			return
		case payload[0] == query && strings.HasPrefix(string(payload[1:]), "BAD"):
			send(answer, append([]byte{0xff, 0x28, 0x04}, "#42000bad statement"...))
		case payload[0] == prepare:
			send(answer, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		case payload[0] == closeStatement:
		default:
			send(answer, ok)
		}
	}
}
