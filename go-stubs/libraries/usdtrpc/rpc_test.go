package usdtrpc

import (
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"testing"
)

// Arith is a service.
type Arith struct{}

// Double doubles a number.
func (Arith) Double(number int, result *int) error {
	*result = 2 * number
	return nil
}

func TestCallsReturnTheSameResults(t *testing.T) {
	server := rpc.NewServer()
	if err := server.Register(Arith{}); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	go server.ServeCodec(NewServerCodec(jsonrpc.NewServerCodec(far)))
	client := rpc.NewClientWithCodec(NewClientCodec(jsonrpc.NewClientCodec(near)))
	defer client.Close()
	var result int
	if err := client.Call("Arith.Double", 21, &result); err != nil || result != 42 {
		t.Errorf("got %d, %v", result, err)
	}
	if err := client.Call("Arith.Missing", 21, &result); err == nil {
		t.Error("no error for a method that does not exist")
	}
}

func TestCallsThatNeverEndAreBounded(t *testing.T) {
	var calls calls
	for id := uint64(0); id < 3*maxStarts; id++ {
		calls.begin(id)
	}
	if len(calls.starts) > maxStarts {
		t.Errorf("%d starts", len(calls.starts))
	}
	if calls.end(3*maxStarts-1) == 0 || calls.end(0) != 0 {
		t.Error("the last call has no duration, or the first one has")
	}
}
