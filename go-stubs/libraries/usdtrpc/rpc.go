// Package usdtrpc provides codecs for net/rpc servers and clients that fire static probes (USDT).
//
//	server.ServeCodec(usdtrpc.NewServerCodec(jsonrpc.NewServerCodec(conn)))
//	client := rpc.NewClientWithCodec(usdtrpc.NewClientCodec(jsonrpc.NewClientCodec(conn)))
//
// While no tracer is attached, a call costs a load and a test for each probe, and allocates nothing.
package usdtrpc

import (
	"net/rpc"
	"sync"
	"time"

	"usdt.local/go-stubs/libraries/usdtrpc/internal/probes"
)

// calls holds the times at which calls have begun while a tracer was attached.
type calls struct {
	mutex  sync.Mutex
	starts map[uint64]time.Time
}

// maxStarts bounds the calls that never end, such as those of a client whose connection breaks.
const maxStarts = 1 << 16

func (c *calls) begin(id uint64) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.starts == nil || len(c.starts) >= maxStarts {
		c.starts = make(map[uint64]time.Time)
	}
	c.starts[id] = time.Now()
}

// end returns 0 if no tracer was attached when the call began.
func (c *calls) end(id uint64) time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	start, ok := c.starts[id]
	if !ok {
		return 0
	}
	delete(c.starts, id)
	return time.Since(start)
}

// NewServerCodec returns a codec that fires rpc:server_call_start and rpc:server_call_end, and
// reads and writes through codec.
func NewServerCodec(codec rpc.ServerCodec) rpc.ServerCodec { return &serverCodec{ServerCodec: codec} }

type serverCodec struct {
	rpc.ServerCodec
	calls calls
}

func (c *serverCodec) ReadRequestHeader(request *rpc.Request) error {
	err := c.ServerCodec.ReadRequestHeader(request)
	if err == nil && (probes.ServerCallStartEnabled() || probes.ServerCallEndEnabled()) {
		probes.ServerCallStart(request.ServiceMethod, request.Seq)
		c.calls.begin(request.Seq)
	}
	return err
}

func (c *serverCodec) WriteResponse(response *rpc.Response, body interface{}) error {
	if probes.ServerCallEndEnabled() {
		probes.ServerCallEnd(response.ServiceMethod, response.Seq, c.calls.end(response.Seq), response.Error)
	}
	return c.ServerCodec.WriteResponse(response, body)
}

// NewClientCodec returns a codec that fires rpc:client_call_start and rpc:client_call_end, and
// reads and writes through codec.
func NewClientCodec(codec rpc.ClientCodec) rpc.ClientCodec { return &clientCodec{ClientCodec: codec} }

type clientCodec struct {
	rpc.ClientCodec
	calls calls
}

func (c *clientCodec) WriteRequest(request *rpc.Request, body interface{}) error {
	if probes.ClientCallStartEnabled() || probes.ClientCallEndEnabled() {
		probes.ClientCallStart(request.ServiceMethod, request.Seq)
		c.calls.begin(request.Seq)
	}
	return c.ClientCodec.WriteRequest(request, body)
}

func (c *clientCodec) ReadResponseHeader(response *rpc.Response) error {
	err := c.ClientCodec.ReadResponseHeader(response)
	if err == nil && probes.ClientCallEndEnabled() {
		probes.ClientCallEnd(response.ServiceMethod, response.Seq, c.calls.end(response.Seq), response.Error)
	}
	return err
}
