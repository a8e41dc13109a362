package main

import (
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"

	"usdt.local/go-stubs/libraries/usdtrpc"
)

// Arith is a service of net/rpc.
type Arith struct{}

// Double doubles a number.
func (Arith) Double(number int, result *int) error {
	*result = 2 * number
	return nil
}

func callProcedures() {
	server := rpc.NewServer()
	must(server.Register(Arith{}))
	near, far := net.Pipe()
	go server.ServeCodec(usdtrpc.NewServerCodec(jsonrpc.NewServerCodec(far)))
	client := rpc.NewClientWithCodec(usdtrpc.NewClientCodec(jsonrpc.NewClientCodec(near)))
	defer client.Close()
	var result int
	must(client.Call("Arith.Double", 21, &result))
	mustFail(client.Call("Arith.Missing", 21, &result))
}
