// Httpd is a small HTTP service with static probes (USDT). It stores JSON items and has a cache.
//
//	GET    /items       returns the keys of all items
//	GET    /items/KEY   returns an item
//	PUT    /items/KEY   stores the JSON in the request body
//	DELETE /items/KEY   removes an item
//	GET    /healthz     returns 200 while the service runs
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; port 0 picks a free one")
	flag.Parse()
	if err := run(*addr); err != nil {
		fmt.Fprintln(os.Stderr, "httpd:", err)
		os.Exit(1)
	}
}

func run(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	store := newStore(2*time.Millisecond, 50*time.Millisecond)
	go store.evictEvery(ctx, 100*time.Millisecond)

	server := &http.Server{Handler: newService(store), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	// Callers read the port from this line. It comes last, when the service accepts connections.
	fmt.Printf("listening on http://%s\n", listener.Addr())

	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	shutdownCtx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(shutdownCtx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
