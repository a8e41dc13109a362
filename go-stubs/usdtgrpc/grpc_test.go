package usdtgrpc

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func Example() {
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(UnaryServerInterceptor), grpc.ChainStreamInterceptor(StreamServerInterceptor))
	defer server.Stop()
	client, err := grpc.NewClient("localhost:50051", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(UnaryClientInterceptor), grpc.WithChainStreamInterceptor(StreamClientInterceptor))
	if err == nil {
		client.Close()
	}
	// Output:
}

// Calls the functions that run while a tracer is attached, over a real connection.
func TestTracedCallsReturnTheSameResults(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(unaryServer), grpc.StreamInterceptor(streamServer))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	defer server.Stop()
	unary := func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, options ...grpc.CallOption) error {
		call := startClientCall(method, conn, false)
		err := invoker(ctx, method, request, response, conn, options...)
		call.end(err)
		return err
	}
	stream := func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
		return streamClient(ctx, desc, conn, method, streamer, options)
	}
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(unary), grpc.WithStreamInterceptor(stream))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)
	if response, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil || response.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Error(response, err)
	}
	if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "missing"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if response, err := watch.Recv(); err != nil || response.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Error(response, err)
	}
	if _, err := watch.Header(); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := watch.Recv(); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}

func TestCodeIsThatOfGRPC(t *testing.T) {
	for _, test := range []struct {
		err  error
		want codes.Code
	}{
		{nil, codes.OK}, {status.Error(codes.NotFound, "x"), codes.NotFound}, {context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded}, {errors.New("x"), codes.Unknown}, {io.EOF, codes.Unknown},
	} {
		if got := code(test.err); got != test.want {
			t.Errorf("%v: got %v, want %v", test.err, got, test.want)
		}
	}
}

func handle(context.Context, any) (any, error) { return nil, nil }
func invoke(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	ctx, info := context.Background(), &grpc.UnaryServerInfo{}
	if n := testing.AllocsPerRun(1000, func() {
		UnaryServerInterceptor(ctx, nil, info, handle)
		UnaryClientInterceptor(ctx, "m", nil, nil, nil, invoke)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkUnaryServer(b *testing.B) {
	ctx, info := context.Background(), &grpc.UnaryServerInfo{}
	direct := grpc.UnaryServerInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(ctx, request)
	})
	for name, interceptor := range map[string]grpc.UnaryServerInterceptor{"direct": direct, "wrapped": UnaryServerInterceptor} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				interceptor(ctx, nil, info, handle)
			}
		})
	}
}
