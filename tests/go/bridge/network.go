package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
)

type request struct {
	Method, Path string
	Status, Size int
	Protocol     string
}

func handle(w http.ResponseWriter, r *http.Request) {
	status, size := 0, 0
	if _, err := fmt.Sscanf(r.URL.Path, "/status/%d/size/%d", &status, &size); err != nil {
		return
	}
	if status != 200 {
		w.WriteHeader(status)
	}
	_, _ = io.WriteString(w, strings.Repeat("x", size))
}

// network sends requests by HTTP/1 and HTTP/2, one to nobody, and one to a server that the client does not trust.
func network(did *facts) {
	plain := httptest.NewServer(http.HandlerFunc(handle))
	secure := httptest.NewUnstartedServer(http.HandlerFunc(handle))
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	for _, server := range []*httptest.Server{plain, secure} {
		client := server.Client()
		for i, status := range []int{200, 404, 500, 201} {
			one := request{Method: []string{"GET", "POST"}[i%2], Status: status, Size: 10 * i}
			one.Path = fmt.Sprintf("/status/%d/size/%d", status, one.Size)
			ask, err := http.NewRequest(one.Method, server.URL+one.Path+"?query=1", nil)
			must(err)
			answer, err := client.Do(ask)
			must(err)
			body, err := io.ReadAll(answer.Body)
			must(err)
			must(answer.Body.Close())
			one.Protocol = answer.Proto
			if len(body) != one.Size || answer.StatusCode != status {
				panic("the server did not do as asked")
			}
			did.Requests = append(did.Requests, one)
		}
	}
	did.Connections = 2

	_, err := (&http.Client{Transport: &http.Transport{}}).Get(secure.URL)
	did.Distrusted = err.Error()
	did.Connections++
	plain.Close()
	secure.Close()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	must(listener.Close())
	_, err = http.Get("http://user:secret@" + listener.Addr().String() + "/refused")
	did.Refused = err.Error()

	// Both sides of a handshake, over a pipe.
	one, other := net.Pipe()
	go func() { _ = tls.Server(other, &tls.Config{}).Handshake() }()
	_ = tls.Client(one, &tls.Config{InsecureSkipVerify: true}).Handshake()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
