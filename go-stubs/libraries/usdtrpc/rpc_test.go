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

// silent is a codec that reads and writes nothing.
type silent struct{}

func (silent) ReadRequestHeader(*rpc.Request) error           { return nil }
func (silent) ReadRequestBody(interface{}) error              { return nil }
func (silent) WriteResponse(*rpc.Response, interface{}) error { return nil }
func (silent) WriteRequest(*rpc.Request, interface{}) error   { return nil }
func (silent) ReadResponseHeader(*rpc.Response) error         { return nil }
func (silent) ReadResponseBody(interface{}) error             { return nil }
func (silent) Close() error                                   { return nil }

// passThroughServer is a server codec that only calls another one.
type passThroughServer struct{ rpc.ServerCodec }

func (c *passThroughServer) ReadRequestHeader(request *rpc.Request) error {
	err := c.ServerCodec.ReadRequestHeader(request)
	return err
}
func (c *passThroughServer) WriteResponse(response *rpc.Response, body interface{}) error {
	return c.ServerCodec.WriteResponse(response, body)
}

// passThroughClient is a client codec that only calls another one.
type passThroughClient struct{ rpc.ClientCodec }

func (c *passThroughClient) WriteRequest(request *rpc.Request, body interface{}) error {
	return c.ClientCodec.WriteRequest(request, body)
}
func (c *passThroughClient) ReadResponseHeader(response *rpc.Response) error {
	err := c.ClientCodec.ReadResponseHeader(response)
	return err
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	server, client := NewServerCodec(silent{}), NewClientCodec(silent{})
	request, response := &rpc.Request{}, &rpc.Response{}
	if n := testing.AllocsPerRun(1000, func() {
		client.WriteRequest(request, nil)
		server.ReadRequestHeader(request)
		server.WriteResponse(response, nil)
		client.ReadResponseHeader(response)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkServer(b *testing.B) {
	request, response := &rpc.Request{}, &rpc.Response{}
	for name, codec := range map[string]rpc.ServerCodec{"between": &passThroughServer{silent{}}, "wrapped": NewServerCodec(silent{})} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				codec.ReadRequestHeader(request)
				codec.WriteResponse(response, nil)
			}
		})
	}
}

func BenchmarkClient(b *testing.B) {
	request, response := &rpc.Request{}, &rpc.Response{}
	for name, codec := range map[string]rpc.ClientCodec{"between": &passThroughClient{silent{}}, "wrapped": NewClientCodec(silent{})} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				codec.WriteRequest(request, nil)
				codec.ReadResponseHeader(response)
			}
		})
	}
}
