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

// UnaryClientInterceptor is a grpc.UnaryClientInterceptor.
func UnaryClientInterceptor(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if probes.ClientCallStartEnabled() || probes.ClientCallEndEnabled() {
		call := begin(method, conn, false)
		err := invoke(ctx, method, request, answer, conn, options...)
		call.end(err)
		return err
	}
	return invoke(ctx, method, request, answer, conn, options...)
}

// StreamClientInterceptor is a grpc.StreamClientInterceptor. Its call ends when receiving does, or when its context does.
func StreamClientInterceptor(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if probes.ClientCallStartEnabled() || probes.ClientCallEndEnabled() {
		return streamClient(ctx, desc, conn, method, open, options)
	}
	return open(ctx, desc, conn, method, options...)
}

func streamClient(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options []grpc.CallOption) (grpc.ClientStream, error) {
	call := begin(method, conn, true)
	base, err := open(ctx, desc, conn, method, options...)
	if err != nil {
		call.end(err)
		return nil, err
	}
	// Who drops a stream without reading its end has to cancel its context.
	call.stop = context.AfterFunc(ctx, func() { call.end(ctx.Err()) })
	return &stream{base, call, desc.ServerStreams}, nil
}

// made is a call that a client makes.
type made struct {
	method string
	id     uint64
	start  time.Time
	once   sync.Once
	// Ends the wait for the end of a stream's context.
	stop func() bool
}

func begin(method string, conn *grpc.ClientConn, stream bool) *made {
	call := &made{method: method, id: calls.Add(1), start: time.Now()}
	target := ""
	if conn != nil {
		target = conn.Target()
	}
	probes.ClientCallStart(method, target, call.id, stream)
	return call
}

func (m *made) end(err error) {
	m.once.Do(func() {
		probes.ClientCallEnd(m.method, code(err), m.id, int64(time.Since(m.start)), err)
	})
}

// finish ends the call of a stream.
func (m *made) finish(err error) {
	m.stop()
	m.end(err)
}

type stream struct {
	grpc.ClientStream
	call *made
	many bool
}

func (s *stream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	if err != nil {
		s.call.finish(err)
	}
	return header, err
}

func (s *stream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	switch {
	case err == io.EOF:
		s.call.finish(nil)
	case err != nil:
		s.call.finish(err)
	case !s.many:
		// The one answer was it.
		s.call.finish(nil)
	}
	return err
}
