package usdtgrpc

import (
	"context"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"usdt.local/go-stubs/usdtgrpc/internal/probes"
)

// UnaryClientInterceptor is a grpc.UnaryClientInterceptor that fires the probes of client calls.
func UnaryClientInterceptor(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if probes.ClientCallStartEnabled() || probes.ClientCallEndEnabled() {
		call := startClientCall(method, conn, false)
		err := invoker(ctx, method, request, response, conn, options...)
		call.end(err)
		return err
	}
	return invoker(ctx, method, request, response, conn, options...)
}

// StreamClientInterceptor is a grpc.StreamClientInterceptor that fires the probes of client calls.
// A call ends when the last message has been received, or when its context is done.
func StreamClientInterceptor(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if probes.ClientCallStartEnabled() || probes.ClientCallEndEnabled() {
		return streamClient(ctx, desc, conn, method, streamer, options)
	}
	return streamer(ctx, desc, conn, method, options...)
}

func streamClient(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options []grpc.CallOption) (grpc.ClientStream, error) {
	call := startClientCall(method, conn, true)
	base, err := streamer(ctx, desc, conn, method, options...)
	if err != nil {
		call.end(err)
		return nil, err
	}
	// gRPC requires programs that abandon a stream to cancel its context.
	call.stop = context.AfterFunc(ctx, func() { call.end(ctx.Err()) })
	return &clientStream{base, call, desc.ServerStreams}, nil
}

// clientCall is a traced call of a client.
type clientCall struct {
	method string
	id     uint64
	start  time.Time
	once   sync.Once
	// stop stops waiting for the context of a stream. It is nil for unary calls.
	stop func() bool
}

func startClientCall(method string, conn *grpc.ClientConn, stream bool) *clientCall {
	call := &clientCall{method: method, id: lastCallID.Add(1), start: time.Now()}
	target := ""
	if conn != nil {
		target = conn.Target()
	}
	probes.ClientCallStart(method, target, call.id, stream)
	return call
}

// end fires the probe at the end of the call, once.
func (c *clientCall) end(err error) {
	c.once.Do(func() {
		statusCode := code(err)
		probes.ClientCallEnd(c.method, int32(statusCode), c.id, time.Since(c.start), err, statusCode.String())
	})
}

// finish ends a streaming call before its context is done.
func (c *clientCall) finish(err error) {
	c.stop()
	c.end(err)
}

// clientStream is a stream that ends its call after the last message.
type clientStream struct {
	grpc.ClientStream
	call          *clientCall
	serverStreams bool
}

func (s *clientStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	if err != nil {
		s.call.finish(err)
	}
	return header, err
}

func (s *clientStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	switch {
	case err == io.EOF:
		s.call.finish(nil)
	case err != nil:
		s.call.finish(err)
	case !s.serverStreams:
		// The server sends a single message.
		s.call.finish(nil)
	}
	return err
}
