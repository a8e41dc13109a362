package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func callServices() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := grpc.NewServer()
	status := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, status)
	go server.Serve(listener)
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client := grpc_health_v1.NewHealthClient(conn)
	_, err = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	must(err)
	_, err = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "none"})
	mustFail(err)
	watch, cancelWatch := context.WithCancel(ctx)
	stream, err := client.Watch(watch, &grpc_health_v1.HealthCheckRequest{})
	must(err)
	_, err = stream.Recv()
	must(err)
	cancelWatch()
	_, err = stream.Recv()
	mustFail(err)
	must(conn.Close())
	// Waits for the handlers.
	server.GracefulStop()
}
