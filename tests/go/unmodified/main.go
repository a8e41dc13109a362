// Unmodified does what function entries of the runtime and of net/http report, and writes to a
// file, as JSON, what it did. It builds with every Go release from 1.17 on.
//
//	unmodified FILE [wait]
//
// With wait, it then runs until its standard input is closed.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/ioutil"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"sync"
)

// facts is what the program did. The test compares it with the hits.
type facts struct {
	Version string
	Worker  uint64 // entry address of the goroutines' function
	Workers int
	// Requests is the number of requests that the server answered, Errors that of status 500.
	Requests, Errors int
	// RoundTrips is the number of calls of (*http.Transport).RoundTrip.
	RoundTrips int
	// Live is what runtime.NumGoroutine returned at the end.
	Live int
}

var (
	wait sync.WaitGroup
	// An interface, so that the compiler does not inline RoundTrip.
	transport http.RoundTripper = &http.Transport{}
	// Allocated once, because an allocation before the call would grow the stack.
	withoutURL http.Request
)

func worker() {
	wait.Done()
}

// deep calls f with depth frames below it.
//
//go:noinline
func deep(depth int, f func()) byte {
	var frame [40]byte
	if depth == 0 {
		f()
		return 0
	}
	frame[depth%40] = deep(depth-1, f)
	return frame[depth%7]
}

// shallow calls f with depth smaller frames below it.
//
//go:noinline
func shallow(depth int, f func()) int {
	if depth == 0 {
		f()
		return 0
	}
	return shallow(depth-1, f) + 1
}

// callAtAllDepths calls RoundTrip on new goroutines at each stack depth, so that some stacks grow
// in the prologue of the function. It returns the number of calls.
func callAtAllDepths() int {
	const depths, rounds = 400, 20
	calls := 0
	call := func() {
		// It fails at once, because the request has no URL.
		if _, err := transport.RoundTrip(&withoutURL); err == nil {
			panic("a request without a URL has no error")
		}
	}
	for round := 0; round < rounds; round++ {
		for depth := 0; depth < depths; depth++ {
			depth, round := depth, round
			wait.Add(1)
			calls++
			go func() {
				deep(depth, func() { shallow(round, call) })
				wait.Done()
			}()
		}
		wait.Wait()
	}
	return calls
}

func handle(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/broken" {
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = fmt.Fprintln(w, "answer")
}

func sendRequests(did *facts) {
	server := httptest.NewServer(http.HandlerFunc(handle))
	defer server.Close()
	for i := 0; i < 30; i++ {
		path := "/fine"
		if i%10 == 0 {
			path = "/broken"
			did.Errors++
		}
		response, err := http.Get(server.URL + path)
		if err != nil {
			panic(err)
		}
		if _, err := io.Copy(ioutil.Discard, response.Body); err != nil {
			panic(err)
		}
		if err := response.Body.Close(); err != nil {
			panic(err)
		}
		did.Requests++
		did.RoundTrips++
	}
	http.DefaultClient.CloseIdleConnections()
}

func main() {
	did := facts{Version: runtime.Version(), Workers: 300}
	did.Worker = uint64(reflect.ValueOf(worker).Pointer())
	wait.Add(did.Workers)
	for i := 0; i < did.Workers; i++ {
		go worker()
	}
	wait.Wait()
	did.RoundTrips = callAtAllDepths()
	sendRequests(&did)
	shouldWait := len(os.Args) > 2
	if shouldWait {
		for i := 0; i < 20; i++ {
			go func() { <-make(chan int) }()
		}
	}
	// Goroutines that end may still be counted.
	for stable := 0; stable < 1000; stable++ {
		if now := runtime.NumGoroutine(); now != did.Live {
			did.Live, stable = now, 0
		}
		runtime.Gosched()
	}
	data, err := json.Marshal(did)
	if err == nil {
		err = ioutil.WriteFile(os.Args[1], data, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if shouldWait {
		_, _ = io.Copy(ioutil.Discard, os.Stdin)
	}
}
