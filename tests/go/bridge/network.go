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

// handle responds with the status and the body size that the path contains.
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

// useNetwork sends requests over HTTP/1 and HTTP/2, one to a closed port, and one to a server whose
// certificate the client does not trust. It records them in did.
func useNetwork(did *facts) {
	plain := httptest.NewServer(http.HandlerFunc(handle))
	secure := httptest.NewUnstartedServer(http.HandlerFunc(handle))
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	for _, server := range []*httptest.Server{plain, secure} {
		client := server.Client()
		for i, status := range []int{200, 404, 500, 201} {
			sent := request{Method: []string{"GET", "POST"}[i%2], Status: status, Size: 10 * i}
			sent.Path = fmt.Sprintf("/status/%d/size/%d", status, sent.Size)
			req, err := http.NewRequest(sent.Method, server.URL+sent.Path+"?query=1", nil)
			must(err)
			response, err := client.Do(req)
			must(err)
			body, err := io.ReadAll(response.Body)
			must(err)
			must(response.Body.Close())
			sent.Protocol = response.Proto
			if len(body) != sent.Size || response.StatusCode != status {
				panic("unexpected response")
			}
			did.Requests = append(did.Requests, sent)
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

	// A TLS handshake that fails, because the server has no certificate.
	clientConn, serverConn := net.Pipe()
	go func() { _ = tls.Server(serverConn, &tls.Config{}).Handshake() }()
	_ = tls.Client(clientConn, &tls.Config{InsecureSkipVerify: true}).Handshake()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
