// Package usdtgin provides middleware for Gin that fires static probes (USDT).
//
//	engine := gin.New()
//	engine.Use(usdtgin.Middleware)
//
// The probes are those of package usdthttp with the route that matched, so use one of the two.
//
// While no tracer is attached, a request costs two loads and two tests more than with middleware
// that only calls the next handler, and allocates nothing.
package usdtgin

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"usdt.local/go-stubs/libraries/usdtgin/internal/probes"
)

// lastRequestID is the ID of the last traced request of any server.
var lastRequestID atomic.Uint64

func enabled() bool { return probes.ServerRequestStartEnabled() || probes.ServerRequestEndEnabled() }

// Middleware is a gin.HandlerFunc that fires net_http:server_request_start, calls the handlers that
// follow, and fires net_http:server_request_end when they return or panic.
func Middleware(c *gin.Context) {
	if enabled() {
		serve(c)
	}
	// Gin calls the next handler when this one returns.
}

func serve(c *gin.Context) {
	id, start, r := lastRequestID.Add(1), time.Now(), c.Request
	probes.ServerRequestStart(r.Method, r.URL.Path, r.Host, id, r.Header.Get("Traceparent"))
	panicking := true
	defer func() {
		status, size := c.Writer.Status(), c.Writer.Size()
		if panicking && !c.Writer.Written() {
			// The handlers before this one, such as gin.Recovery, or the server answer with it.
			status = http.StatusInternalServerError
		}
		if size < 0 {
			size = 0
		}
		probes.ServerRequestEnd(int32(status), id, int64(size), time.Since(start), c.FullPath())
	}()
	c.Next()
	panicking = false
}
