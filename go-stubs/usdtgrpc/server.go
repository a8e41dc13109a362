// Package usdtgrpc provides interceptors for gRPC servers and clients that fire static probes
// (USDT).
//
//	server := grpc.NewServer(grpc.ChainUnaryInterceptor(usdtgrpc.UnaryServerInterceptor),
//		grpc.ChainStreamInterceptor(usdtgrpc.StreamServerInterceptor))
//	client, err := grpc.NewClient(target, grpc.WithChainUnaryInterceptor(usdtgrpc.UnaryClientInterceptor),
//		grpc.WithChainStreamInterceptor(usdtgrpc.StreamClientInterceptor))
//
// While no tracer is attached, a call costs two loads and two tests more than with an interceptor
// that only calls the next handler, and allocates nothing.
package usdtgrpc

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"usdt.local/go-stubs/usdtgrpc/internal/probes"
)

// lastCallID is the ID of the last traced call of any server or client.
var lastCallID atomic.Uint64

// UnaryServerInterceptor is a grpc.UnaryServerInterceptor that fires the probes of server calls.
func UnaryServerInterceptor(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if probes.ServerCallStartEnabled() || probes.ServerCallEndEnabled() {
		return unaryServer(ctx, request, info, handler)
	}
	return handler(ctx, request)
}

func unaryServer(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	call := startServerCall(ctx, info.FullMethod, false)
	defer func() { call.end(err) }()
	response, err = handler(ctx, request)
	call.returned = true
	return response, err
}

// StreamServerInterceptor is a grpc.StreamServerInterceptor that fires the probes of server calls.
func StreamServerInterceptor(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if probes.ServerCallStartEnabled() || probes.ServerCallEndEnabled() {
		return streamServer(server, stream, info, handler)
	}
	return handler(server, stream)
}

func streamServer(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	call := startServerCall(stream.Context(), info.FullMethod, true)
	defer func() { call.end(err) }()
	err = handler(server, stream)
	call.returned = true
	return err
}

// serverCall is a traced call of a server.
type serverCall struct {
	method string
	id     uint64
	start  time.Time
	// returned is false until the handler returns, so it stays false if the handler panics.
	returned bool
}

func startServerCall(ctx context.Context, method string, stream bool) serverCall {
	address := ""
	if client, ok := peer.FromContext(ctx); ok && client.Addr != nil {
		address = client.Addr.String()
	}
	call := serverCall{method: method, id: lastCallID.Add(1), start: time.Now()}
	probes.ServerCallStart(method, address, call.id, stream)
	return call
}

func (c *serverCall) end(err error) {
	statusCode := codes.Unknown
	if c.returned {
		statusCode = code(err)
	}
	probes.ServerCallEnd(c.method, int32(statusCode), c.id, time.Since(c.start), err, statusCode.String())
}

// code returns the status code that gRPC assigns to an error.
func code(err error) codes.Code {
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	return status.FromContextError(err).Code()
}
