// Package usdtecho provides middleware for Echo that fires static probes (USDT).
//
//	server := echo.New()
//	server.Use(usdtecho.Middleware)
//
// The probes are those of package usdthttp with the route that matched, so use one of the two.
//
// While no tracer is attached, a request costs two loads and two tests more than with middleware
// that only calls the next handler, and allocates nothing.
package usdtecho

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"usdt.local/go-stubs/libraries/usdtecho/internal/probes"
)

// lastRequestID is the ID of the last traced request of any server.
var lastRequestID atomic.Uint64

func enabled() bool { return probes.ServerRequestStartEnabled() || probes.ServerRequestEndEnabled() }

// Middleware is an echo.MiddlewareFunc that fires net_http:server_request_start, calls next, and
// fires net_http:server_request_end when next returns or panics.
//
// While a tracer is attached, an error of next is answered by Echo's error handler before the
// middleware outside of this one sees it, because the status is known only then.
func Middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if enabled() {
			return serve(c, next)
		}
		return next(c)
	}
}

func serve(c echo.Context, next echo.HandlerFunc) error {
	id, start, r := lastRequestID.Add(1), time.Now(), c.Request()
	probes.ServerRequestStart(r.Method, r.URL.Path, r.Host, id, r.Header.Get("Traceparent"))
	panicking := true
	defer func() {
		status := c.Response().Status
		if panicking && !c.Response().Committed {
			// The middleware outside of this one, such as Recover, or the server answers with it.
			status = http.StatusInternalServerError
		}
		probes.ServerRequestEnd(int32(status), id, c.Response().Size, time.Since(start), c.Path())
	}()
	err := next(c)
	if err != nil {
		c.Error(err)
	}
	panicking = false
	return err
}
