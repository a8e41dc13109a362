package usdtgin

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
)

func engine(middleware ...gin.HandlerFunc) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(middleware...)
	engine.GET("/items/:id", func(c *gin.Context) { c.String(http.StatusTeapot, c.Param("id")) })
	engine.GET("/panic", func(*gin.Context) { panic("x") })
	return engine
}

func get(handler http.Handler, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
	return recorder
}

func TestHandlersAreCalledOnce(t *testing.T) {
	for name, middleware := range map[string]gin.HandlerFunc{"off": Middleware, "traced": serve} {
		if got := get(engine(middleware), "/items/7"); got.Code != http.StatusTeapot || got.Body.String() != "7" {
			t.Errorf("%s: got %d %q", name, got.Code, got.Body)
		}
		recovery := gin.RecoveryWithWriter(nil)
		if got := get(engine(recovery, middleware), "/panic"); got.Code != http.StatusInternalServerError {
			t.Errorf("%s: got %d after a panic", name, got.Code)
		}
		if got := get(engine(middleware), "/missing"); got.Code != http.StatusNotFound {
			t.Errorf("%s: got %d", name, got.Code)
		}
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	c := gin.CreateTestContextOnly(httptest.NewRecorder(), engine())
	if n := testing.AllocsPerRun(1000, func() { Middleware(c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	c := gin.CreateTestContextOnly(httptest.NewRecorder(), engine())
	for name, middleware := range map[string]gin.HandlerFunc{"between": func(*gin.Context) {}, "wrapped": Middleware} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				middleware(c)
			}
		})
	}
}
