package usdtecho

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

func serveTraced(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error { return serve(c, next) }
}

func server(middleware ...echo.MiddlewareFunc) *echo.Echo {
	server := echo.New()
	server.Use(middleware...)
	server.GET("/items/:id", func(c echo.Context) error { return c.String(http.StatusTeapot, c.Param("id")) })
	server.GET("/gone", func(echo.Context) error { return echo.NewHTTPError(http.StatusGone) })
	server.GET("/panic", func(echo.Context) error { panic("x") })
	return server
}

func get(handler http.Handler, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
	return recorder
}

func TestResponsesAreTheSame(t *testing.T) {
	recovery := middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true, LogLevel: 7})
	for name, middleware := range map[string]echo.MiddlewareFunc{"off": Middleware, "traced": serveTraced} {
		for path, want := range map[string]int{"/items/7": 418, "/gone": 410, "/panic": 500, "/missing": 404} {
			if got := get(server(recovery, middleware), path); got.Code != want {
				t.Errorf("%s: %s: got %d, want %d", name, path, got.Code, want)
			}
		}
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	c := echo.New().NewContext(httptest.NewRequest("GET", "/", nil), httptest.NewRecorder())
	handler := Middleware(func(echo.Context) error { return nil })
	if n := testing.AllocsPerRun(1000, func() { handler(c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	c := echo.New().NewContext(httptest.NewRequest("GET", "/", nil), httptest.NewRecorder())
	passThrough := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error { return next(c) }
	}
	// Called through a map, so that the compiler does not know the next handler.
	for name, middleware := range map[string]echo.MiddlewareFunc{"between": passThrough, "wrapped": Middleware} {
		handler := middleware(func(echo.Context) error { return nil })
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				handler(c)
			}
		})
	}
}
