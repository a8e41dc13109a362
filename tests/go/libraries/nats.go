package main

import (
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"usdt.local/go-stubs/libraries/usdtnats"
)

func publishMessages() {
	running, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	must(err)
	go running.Start()
	defer running.Shutdown()
	if !running.ReadyForConnections(timeout) {
		panic("the NATS server does not accept connections")
	}
	plain, err := nats.Connect(running.ClientURL())
	must(err)
	defer plain.Close()
	conn := usdtnats.NewConn(plain)
	handled := make(chan struct{})
	_, err = conn.Subscribe("orders", usdtnats.NewHandler(func(*nats.Msg) { close(handled) }))
	must(err)
	_, err = conn.Subscribe("echo", usdtnats.NewHandler(func(message *nats.Msg) { must(message.Respond(message.Data)) }))
	must(err)
	must(conn.Publish("orders", []byte("five!")))
	<-handled
	_, err = conn.Request("echo", []byte("ping"), timeout)
	must(err)
	_, err = conn.Request("nowhere", nil, timeout)
	mustFail(err)
}
