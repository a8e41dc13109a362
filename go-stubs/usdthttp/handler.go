// Package usdthttp has HTTP middleware for servers and a transport for clients that fire static probes (USDT).
//
// The probes are those that the toolkit's runtime-native bridge has, net_http:server_request_start and so on, so scripts and
// dashboards work on both. Use one of them in a program: with both, each request is seen twice.
//
// While nobody traces, a request costs a jump with two tests in front of it, and no allocation. Seal binaries with
// go build -toolexec='usdt-gen toolexec' so that every tracer finds the probes.
package usdthttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"usdt.local/go-stubs/internal/relay"
	"usdt.local/go-stubs/usdthttp/internal/probes"
)

// requests numbers what is traced, of servers and clients.
var requests atomic.Uint64

// Handler returns a handler that calls next and fires net_http:server_request_start before and
// net_http:server_request_end after it, also when it panics.
//
// While a tracer is attached, next gets a ResponseWriter that counts bytes. It is an http.Flusher, http.Hijacker,
// io.ReaderFrom or http.Pusher where the server's own is, and has Unwrap for http.ResponseController.
func Handler(next http.Handler) http.Handler {
	start, end := probes.ServerGate()
	return handlers.Wrapped(&handler{next, [2]relay.Gate{handlers.Gate(0, start, end)}})
}

type handler struct {
	next  http.Handler
	gates [2]relay.Gate
}

var handlers = relay.Of[http.Handler](&handler{}, relay.Code((*handler).ServeHTTP))

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if probes.ServerRequestStartEnabled() || probes.ServerRequestEndEnabled() {
		h.traced(w, r)
		return
	}
	h.next.ServeHTTP(w, r)
}

func (h *handler) traced(w http.ResponseWriter, r *http.Request) {
	id, start := requests.Add(1), time.Now()
	probes.ServerRequestStart(r.Method, r.URL.Path, r.Host, id, r.Header.Get("Traceparent"))
	answer := &response{ResponseWriter: w}
	defer func() {
		status := answer.status
		if status == 0 {
			status = http.StatusOK
		}
		probes.ServerRequestEnd(int32(status), id, answer.bytes, int64(time.Since(start)), pattern(r))
	}()
	h.next.ServeHTTP(answer.as(), r)
}

// response notes what a handler answers.
type response struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *response) WriteHeader(status int) {
	// Informational headers come before the answer's own.
	if r.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(data []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(data)
	r.bytes += int64(n)
	return n, err
}

// Unwrap is what http.ResponseController looks for.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// The optional interfaces of the servers of net/http: HTTP/1 has the first three, HTTP/2 the first and the last.

type flusher struct{ *response }

func (f flusher) Flush() {
	if f.status == 0 {
		f.status = http.StatusOK
	}
	f.ResponseWriter.(http.Flusher).Flush()
}

type http1 struct{ flusher }

func (h http1) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.ResponseWriter.(http.Hijacker).Hijack()
}

func (h http1) ReadFrom(source io.Reader) (int64, error) {
	if h.status == 0 {
		h.status = http.StatusOK
	}
	n, err := h.ResponseWriter.(io.ReaderFrom).ReadFrom(source)
	h.bytes += n
	return n, err
}

type http2 struct{ flusher }

func (h http2) Push(target string, options *http.PushOptions) error {
	return h.ResponseWriter.(http.Pusher).Push(target, options)
}

// as gives the response the optional interfaces that the server's own has.
func (r *response) as() http.ResponseWriter {
	_, flushes := r.ResponseWriter.(http.Flusher)
	_, hijacks := r.ResponseWriter.(http.Hijacker)
	_, reads := r.ResponseWriter.(io.ReaderFrom)
	_, pushes := r.ResponseWriter.(http.Pusher)
	switch {
	case flushes && hijacks && reads:
		return http1{flusher{r}}
	case flushes && pushes:
		return http2{flusher{r}}
	case flushes:
		return flusher{r}
	default:
		return r
	}
}
