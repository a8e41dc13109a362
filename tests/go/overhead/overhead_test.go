// Package overhead has benchmarks of operations that probes in the runtime and the standard library
// could slow down.
package overhead

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func BenchmarkGoroutine(b *testing.B) {
	done := make(chan struct{})
	end := func() { done <- struct{}{} }
	for i := 0; i < b.N; i++ {
		go end()
		<-done
	}
}

func BenchmarkPingPong(b *testing.B) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for n := range ping {
			pong <- n
		}
		close(pong)
	}()
	for i := 0; i < b.N; i++ {
		ping <- i
		<-pong
	}
	close(ping)
	<-pong
}

// sink makes the allocations escape to the heap.
var sink []byte

func BenchmarkSmallAllocation(b *testing.B) {
	for i := 0; i < b.N; i++ {
		sink = make([]byte, 48)
	}
}

func BenchmarkHTTP(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	client := server.Client()
	for i := 0; i < b.N; i++ {
		response, err := client.Get(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

type node struct{ left, right *node }

// newTree returns a binary tree of the given depth.
func newTree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{newTree(depth - 1), newTree(depth - 1)}
}

// live keeps a tree reachable, so the collector has something to mark.
var live *node

func BenchmarkGarbage(b *testing.B) {
	live = newTree(16)
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		live.left = newTree(12)
	}
}
