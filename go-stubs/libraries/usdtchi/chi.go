// Package usdtchi provides middleware for routers of chi that fires static probes (USDT).
//
//	router := chi.NewRouter()
//	router.Use(usdtchi.Middleware)
//
// The probes are those of package usdthttp with the route that matched, so use one of the two.
//
// While no tracer is attached, a request costs two loads and two tests more than with middleware
// that only calls the next handler, and allocates nothing.
package usdtchi

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"usdt.local/go-stubs/libraries/usdtchi/internal/probes"
)

// lastRequestID is the ID of the last traced request of any server.
var lastRequestID atomic.Uint64

func enabled() bool { return probes.ServerRequestStartEnabled() || probes.ServerRequestEndEnabled() }

// Middleware returns a handler that fires net_http:server_request_start, calls next, and fires
// net_http:server_request_end when next returns or panics.
//
// While a tracer is attached, next gets a ResponseWriter of chi that counts bytes. It implements
// the optional interfaces that the server's own writer does.
func Middleware(next http.Handler) http.Handler { return &handler{next} }

type handler struct{ next http.Handler }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if enabled() {
		h.serve(w, r)
		return
	}
	h.next.ServeHTTP(w, r)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	id, start := lastRequestID.Add(1), time.Now()
	probes.ServerRequestStart(r.Method, r.URL.Path, r.Host, id, r.Header.Get("Traceparent"))
	response := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
	panicking := true
	defer func() {
		status := response.Status()
		if status == 0 {
			status = http.StatusOK
			if panicking {
				// The middleware outside of this one, such as Recoverer, answers with it.
				status = http.StatusInternalServerError
			}
		}
		probes.ServerRequestEnd(int32(status), id, int64(response.BytesWritten()), time.Since(start), route(r))
	}()
	h.next.ServeHTTP(response, r)
	panicking = false
}

// route returns the pattern that matched the request, which is known after the router has run.
func route(r *http.Request) string {
	if route := chi.RouteContext(r.Context()); route != nil {
		return route.RoutePattern()
	}
	return ""
}
