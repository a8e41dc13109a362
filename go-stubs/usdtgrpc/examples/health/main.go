// Health starts a gRPC server in this process and calls it: two calls succeed, and one asks for a
// service that does not exist.
package main

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"usdt.local/go-stubs/usdtgrpc"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(usdtgrpc.UnaryServerInterceptor))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(usdtgrpc.UnaryClientInterceptor))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)
	for _, service := range []string{"", "missing", ""} {
		_, err := client.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{Service: service})
		fmt.Println(status.Code(err))
	}
}
