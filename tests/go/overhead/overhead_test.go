// Package overhead has the work that probes in the runtime and the standard library could slow down.
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
		answer, err := client.Get(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

type node struct{ left, right *node }

func tree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{tree(depth - 1), tree(depth - 1)}
}

var kept *node

func BenchmarkGarbage(b *testing.B) {
	kept = tree(16)
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		kept.left = tree(12)
	}
}
