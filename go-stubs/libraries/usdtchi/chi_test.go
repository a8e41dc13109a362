package usdtchi

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
)

func serveTraced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (&handler{next}).serve(w, r) })
}

func router(middleware func(http.Handler) http.Handler) http.Handler {
	router := chi.NewRouter()
	router.Use(middleware)
	router.Get("/items/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte(chi.URLParam(r, "id")))
	})
	return router
}

func get(handler http.Handler, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
	return recorder
}

func TestResponsesAreTheSame(t *testing.T) {
	for name, middleware := range map[string]func(http.Handler) http.Handler{"off": Middleware, "traced": serveTraced} {
		if got := get(router(middleware), "/items/7"); got.Code != http.StatusTeapot || got.Body.String() != "7" {
			t.Errorf("%s: got %d %q", name, got.Code, got.Body)
		}
		if got := get(router(middleware), "/missing"); got.Code != http.StatusNotFound {
			t.Errorf("%s: got %d", name, got.Code)
		}
	}
}

func TestRouteIsKnownAfterTheRouterHasRun(t *testing.T) {
	var got string
	outer := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			got = route(r)
		})
	}
	get(router(outer), "/items/7")
	if got != "/items/{id}" {
		t.Errorf("got %q", got)
	}
	if got := route(httptest.NewRequest("GET", "/", nil)); got != "" {
		t.Errorf("got %q without a router", got)
	}
}

// passThrough is a handler that only calls the next one.
type passThrough struct{ next http.Handler }

func (h *passThrough) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.next.ServeHTTP(w, r) }

func TestDisabledAddsNoAllocation(t *testing.T) {
	handler := Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	recorder, request := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	if n := testing.AllocsPerRun(1000, func() { handler.ServeHTTP(recorder, request) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	recorder, request := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	for name, handler := range map[string]http.Handler{"between": &passThrough{next}, "wrapped": Middleware(next)} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				handler.ServeHTTP(recorder, request)
			}
		})
	}
}
