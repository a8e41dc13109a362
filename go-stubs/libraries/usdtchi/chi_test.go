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

func BenchmarkMiddleware(b *testing.B) {
	direct := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	between := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { direct.ServeHTTP(w, r) })
	recorder, request := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	for name, handler := range map[string]http.Handler{"between": between, "wrapped": Middleware(direct)} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				handler.ServeHTTP(recorder, request)
			}
		})
	}
}
