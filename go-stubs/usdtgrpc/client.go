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
func UnaryClientInterceptor(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if probes.ClientCallStartEnabled() || probes.ClientCallEndEnabled() {
		call := beginClientCall(method, conn, false)
		err := invoke(ctx, method, request, answer, conn, options...)
		call.end(err)
		return err
	}
	return invoke(ctx, method, request, answer, conn, options...)
}

// StreamClientInterceptor is a grpc.StreamClientInterceptor that fires the probes of client calls. A call ends when the
// last message has been received, or when its context ends.
func StreamClientInterceptor(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if probes.ClientCallStartEnabled() || probes.ClientCallEndEnabled() {
		return streamClient(ctx, desc, conn, method, open, options)
	}
	return open(ctx, desc, conn, method, options...)
}

func streamClient(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options []grpc.CallOption) (grpc.ClientStream, error) {
	call := beginClientCall(method, conn, true)
	base, err := open(ctx, desc, conn, method, options...)
	if err != nil {
		call.end(err)
		return nil, err
	}
	// gRPC requires a program that drops a stream before its end to cancel the context.
	call.stop = context.AfterFunc(ctx, func() { call.end(ctx.Err()) })
	return &clientStream{base, call, desc.ServerStreams}, nil
}

// clientCall is a traced call of a client.
type clientCall struct {
	method string
	id     uint64
	start  time.Time
	once   sync.Once
	// stop ends the wait for the end of a stream's context.
	stop func() bool
}

func beginClientCall(method string, conn *grpc.ClientConn, stream bool) *clientCall {
	call := &clientCall{method: method, id: lastCallID.Add(1), start: time.Now()}
	target := ""
	if conn != nil {
		target = conn.Target()
	}
	probes.ClientCallStart(method, target, call.id, stream)
	return call
}

func (c *clientCall) end(err error) {
	c.once.Do(func() {
		probes.ClientCallEnd(c.method, code(err), c.id, int64(time.Since(c.start)), err)
	})
}

// finish ends the call of a stream.
func (c *clientCall) finish(err error) {
	c.stop()
	c.end(err)
}

// clientStream ends its call with the last message.
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
		// There is one response.
		s.call.finish(nil)
	}
	return err
}
