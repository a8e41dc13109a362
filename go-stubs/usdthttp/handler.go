// Package usdthttp provides middleware for HTTP servers and a transport for HTTP clients that fire
// static probes (USDT).
//
// The probes have the names of the runtime-native probes that usdt-gen adds to package net/http,
// such as net_http:server_request_start, so scripts and dashboards work with both. Use only one of
// the two in a program: with both, each request fires its probes twice.
//
// While no tracer is attached, a wrapped request costs two loads and two tests more than with a
// wrapper that only calls the next handler, and allocates nothing. Build with
//
//	go build -toolexec='usdt-gen toolexec'
//
// to add the ELF notes that bpftrace, perf and gdb read.
package usdthttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"usdt.local/go-stubs/usdthttp/internal/probes"
)

// lastRequestID is the ID of the last traced request of any server or client.
var lastRequestID atomic.Uint64

// NewHandler returns a handler that fires net_http:server_request_start, calls next, and fires
// net_http:server_request_end when next returns or panics.
//
// While a tracer is attached, next gets a ResponseWriter that counts bytes. It implements
// http.Flusher, http.Hijacker, io.ReaderFrom and http.Pusher if the server's own writer does, and
// has a method Unwrap for http.ResponseController.
func NewHandler(next http.Handler) http.Handler { return &handler{next} }

type handler struct{ next http.Handler }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if probes.ServerRequestStartEnabled() || probes.ServerRequestEndEnabled() {
		h.serveTraced(w, r)
		return
	}
	h.next.ServeHTTP(w, r)
}

func (h *handler) serveTraced(w http.ResponseWriter, r *http.Request) {
	id, start := lastRequestID.Add(1), time.Now()
	probes.ServerRequestStart(r.Method, r.URL.Path, r.Host, id, r.Header.Get("Traceparent"))
	response := &responseWriter{ResponseWriter: w}
	defer func() {
		status := response.status
		if status == 0 {
			status = http.StatusOK
		}
		probes.ServerRequestEnd(int32(status), id, response.bytes, time.Since(start), pattern(r))
	}()
	h.next.ServeHTTP(response.withOptionalInterfaces(), r)
}

// responseWriter records the status and the body size of a response.
type responseWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *responseWriter) WriteHeader(status int) {
	// Informational headers (1xx) precede the final one.
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(data)
	w.bytes += int64(n)
	return n, err
}

// Unwrap returns the server's own writer. http.ResponseController calls it.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The writers of net/http implement these sets of optional interfaces: http.Flusher, http.Hijacker
// and io.ReaderFrom for HTTP/1, http.Flusher and http.Pusher for HTTP/2. The types below are
// writers with these sets.

type flusher struct{ *responseWriter }

func (f flusher) Flush() {
	if f.status == 0 {
		f.status = http.StatusOK
	}
	f.ResponseWriter.(http.Flusher).Flush()
}

type http1Writer struct{ flusher }

func (w http1Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

func (w http1Writer) ReadFrom(source io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.(io.ReaderFrom).ReadFrom(source)
	w.bytes += n
	return n, err
}

type http2Writer struct{ flusher }

func (w http2Writer) Push(target string, options *http.PushOptions) error {
	return w.ResponseWriter.(http.Pusher).Push(target, options)
}

// withOptionalInterfaces returns a writer with the optional interfaces that the server's own writer
// implements.
func (w *responseWriter) withOptionalInterfaces() http.ResponseWriter {
	_, isFlusher := w.ResponseWriter.(http.Flusher)
	_, isHijacker := w.ResponseWriter.(http.Hijacker)
	_, isReaderFrom := w.ResponseWriter.(io.ReaderFrom)
	_, isPusher := w.ResponseWriter.(http.Pusher)
	switch {
	case isFlusher && isHijacker && isReaderFrom:
		return http1Writer{flusher{w}}
	case isFlusher && isPusher:
		return http2Writer{flusher{w}}
	case isFlusher:
		return flusher{w}
	default:
		return w
	}
}
