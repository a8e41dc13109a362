// Package usdtgrpc has interceptors for gRPC servers and clients that fire static probes (USDT).
//
//	server := grpc.NewServer(grpc.ChainUnaryInterceptor(usdtgrpc.UnaryServerInterceptor),
//		grpc.ChainStreamInterceptor(usdtgrpc.StreamServerInterceptor))
//	client, err := grpc.NewClient(target, grpc.WithChainUnaryInterceptor(usdtgrpc.UnaryClientInterceptor),
//		grpc.WithChainStreamInterceptor(usdtgrpc.StreamClientInterceptor))
//
// While nobody traces, a call costs one or two loads and tests more, and no allocation.
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

// calls numbers what is traced, of servers and clients.
var calls atomic.Uint64

// UnaryServerInterceptor is a grpc.UnaryServerInterceptor.
func UnaryServerInterceptor(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if probes.ServerCallStartEnabled() || probes.ServerCallEndEnabled() {
		return unaryServer(ctx, request, info, handler)
	}
	return handler(ctx, request)
}

func unaryServer(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
	call := serve(ctx, info.FullMethod, false)
	defer func() { call.end(err) }()
	answer, err = handler(ctx, request)
	call.returned = true
	return answer, err
}

// StreamServerInterceptor is a grpc.StreamServerInterceptor.
func StreamServerInterceptor(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if probes.ServerCallStartEnabled() || probes.ServerCallEndEnabled() {
		return streamServer(server, stream, info, handler)
	}
	return handler(server, stream)
}

func streamServer(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	call := serve(stream.Context(), info.FullMethod, true)
	defer func() { call.end(err) }()
	err = handler(server, stream)
	call.returned = true
	return err
}

// served is a call that a server handles.
type served struct {
	method   string
	id       uint64
	start    time.Time
	returned bool
}

func serve(ctx context.Context, method string, stream bool) served {
	address := ""
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		address = from.Addr.String()
	}
	call := served{method: method, id: calls.Add(1), start: time.Now()}
	probes.ServerCallStart(method, address, call.id, stream)
	return call
}

func (s *served) end(err error) {
	number := int32(codes.Unknown)
	if s.returned {
		number = code(err)
	}
	probes.ServerCallEnd(s.method, number, s.id, int64(time.Since(s.start)), err)
}

// code is the status code of an error, as gRPC itself sees it.
func code(err error) int32 {
	if known, ok := status.FromError(err); ok {
		return int32(known.Code())
	}
	return int32(status.FromContextError(err).Code())
}
