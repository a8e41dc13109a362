// Package usdtfiber provides middleware for Fiber that fires static probes (USDT).
//
//	app := fiber.New()
//	app.Use(usdtfiber.Middleware)
//
// The probes are those of package usdthttp with the route that matched, so use one of the two.
//
// While no tracer is attached, a request costs two loads and two tests more than with middleware
// that only calls the next handler, and allocates nothing.
package usdtfiber

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"usdt.local/go-stubs/libraries/usdtfiber/internal/probes"
)

// lastRequestID is the ID of the last traced request of any server.
var lastRequestID atomic.Uint64

func enabled() bool { return probes.ServerRequestStartEnabled() || probes.ServerRequestEndEnabled() }

// Middleware is a fiber.Handler that fires net_http:server_request_start, calls the handlers that
// follow, and fires net_http:server_request_end when they return or panic.
//
// While a tracer is attached, an error of a handler is answered by Fiber's error handler before the
// middleware outside of this one sees it, because the status is known only then.
func Middleware(c *fiber.Ctx) error {
	if enabled() {
		return serve(c)
	}
	return c.Next()
}

func serve(c *fiber.Ctx) error {
	id, start := lastRequestID.Add(1), time.Now()
	probes.ServerRequestStart(c.Method(), c.Path(), c.Hostname(), id, c.Get("Traceparent"))
	panicking, unmatched := true, false
	defer func() {
		status, size := c.Response().StatusCode(), len(c.Response().Body())
		if panicking {
			// The middleware outside of this one, such as recover, answers with it.
			status = fiber.StatusInternalServerError
		}
		route := ""
		if !unmatched {
			route = c.Route().Path
		}
		probes.ServerRequestEnd(int32(status), id, int64(size), time.Since(start), route)
	}()
	err := c.Next()
	if err != nil {
		unmatched = isUnmatched(c, err)
		err = c.App().ErrorHandler(c, err)
	}
	panicking = false
	return err
}

// isUnmatched returns true for the error of Fiber's router if no route has matched. The route of the
// request is then that of the last middleware.
func isUnmatched(c *fiber.Ctx, err error) bool {
	var failure *fiber.Error
	return errors.As(err, &failure) && failure.Code == fiber.StatusNotFound &&
		strings.HasPrefix(failure.Message, "Cannot "+c.Method()+" ")
}
