// Package usdthttp has HTTP middleware for servers and a transport for clients that fire static probes (USDT).
//
// The probes have the names of the toolkit's runtime-native ones (net_http:server_request_start and so on), so scripts and
// dashboards work with both. Use one of the two in a program: with both, each request fires its probes twice.
//
// While no tracer is attached, a request costs two loads and tests more than a wrapper that only passes it on, and no
// allocation. Seal binaries with go build -toolexec='usdt-gen toolexec' so that every tracer finds the probes.
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

// lastRequestID is the id of the last traced request, of servers and clients alike.
var lastRequestID atomic.Uint64

// Handler returns a handler that calls next and fires net_http:server_request_start before and
// net_http:server_request_end after it, also when it panics.
//
// While a tracer is attached, next gets a ResponseWriter that counts bytes. It is an http.Flusher, http.Hijacker,
// io.ReaderFrom or http.Pusher where the server's own is, and has Unwrap for http.ResponseController.
func Handler(next http.Handler) http.Handler { return &handler{next} }

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
		probes.ServerRequestEnd(int32(status), id, response.bytes, int64(time.Since(start)), pattern(r))
	}()
	h.next.ServeHTTP(response.withOptionalInterfaces(), r)
}

// responseWriter records the status and the number of bytes of a response.
type responseWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *responseWriter) WriteHeader(status int) {
	// Informational headers (1xx) come before the final ones.
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

// Unwrap returns the server's own writer, for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The writers of net/http's servers have these sets of optional interfaces: HTTP/1 Flusher, Hijacker and ReaderFrom,
// HTTP/2 Flusher and Pusher.

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

// withOptionalInterfaces returns a writer with the optional interfaces that the server's own has.
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
