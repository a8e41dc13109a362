package usdthttp

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type silent struct{ header http.Header }

func (s silent) Header() http.Header             { return s.header }
func (s silent) Write(data []byte) (int, error)  { return len(data), nil }
func (s silent) WriteHeader(int)                 {}
func nothing(http.ResponseWriter, *http.Request) {}

func request() (http.ResponseWriter, *http.Request) {
	return silent{http.Header{}}, httptest.NewRequest("GET", "/a/b", nil)
}

type canned struct {
	answer *http.Response
	err    error
}

func (c canned) RoundTrip(*http.Request) (*http.Response, error) { return c.answer, c.err }

func TestOffAddsNoAllocation(t *testing.T) {
	w, r := request()
	handler := Handler(http.HandlerFunc(nothing))
	client := Transport(canned{answer: &http.Response{}})
	if n := testing.AllocsPerRun(1000, func() {
		handler.ServeHTTP(w, r)
		client.RoundTrip(r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTracedHandlerSendsTheSameResponse(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flush":
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		case "/copy":
			io.Copy(w, strings.NewReader("copied"))
		case "/status":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		case "/hijack":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "HTTP/1.0 202 Accepted\r\n\r\n")
			conn.Close()
		case "/controller":
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	}
	traced := &handler{next: http.HandlerFunc(answer)}
	server := httptest.NewServer(http.HandlerFunc(traced.serveTraced))
	defer server.Close()
	for path, expected := range map[string]struct {
		status int
		body   string
	}{
		"/flush": {200, "ab"}, "/copy": {200, "copied"}, "/status": {418, ""}, "/hijack": {202, ""}, "/controller": {200, ""},
	} {
		client := http.Client{Transport: Transport(nil)}
		response, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(path, err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != expected.status || string(body) != expected.body {
			t.Errorf("%s: %d %q %v", path, response.StatusCode, body, err)
		}
	}
}

func TestTracedWriterHasTheServersOptionalInterfaces(t *testing.T) {
	plain := (&responseWriter{ResponseWriter: silent{http.Header{}}}).withOptionalInterfaces()
	if _, ok := plain.(http.Flusher); ok {
		t.Error("a writer that cannot flush can")
	}
	recorder := (&responseWriter{ResponseWriter: httptest.NewRecorder()}).withOptionalInterfaces()
	if _, ok := recorder.(http.Flusher); !ok {
		t.Error("a writer that can flush cannot")
	}
	if _, ok := recorder.(http.Hijacker); ok {
		t.Error("a writer that cannot be hijacked can")
	}
	pusher := (&responseWriter{ResponseWriter: pushing{httptest.NewRecorder()}}).withOptionalInterfaces()
	if err := pusher.(http.Pusher).Push("/x", nil); !errors.Is(err, http.ErrNotSupported) {
		t.Error(err)
	}
}

type pushing struct{ *httptest.ResponseRecorder }

func (pushing) Push(string, *http.PushOptions) error { return http.ErrNotSupported }

func TestTracedHandlerPropagatesPanics(t *testing.T) {
	defer func() {
		if recover() != "x" {
			t.Error("the panic was swallowed")
		}
	}()
	traced := &handler{next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })}
	traced.serveTraced(request())
}

func TestTracedTransportReturnsErrors(t *testing.T) {
	_, r := request()
	failure := errors.New("x")
	if _, err := (&transport{base: canned{err: failure}}).roundTripTraced(r); err != failure {
		t.Error(err)
	}
	(&http.Client{Transport: Transport(nil)}).CloseIdleConnections()
}

func BenchmarkHandler(b *testing.B) {
	w, r := request()
	direct := http.Handler(http.HandlerFunc(nothing))
	for name, handler := range map[string]http.Handler{
		"direct": direct, "between": &passing{next: direct}, "wrapped": Handler(direct),
	} {
		handler := handler
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				handler.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkTransport(b *testing.B) {
	_, r := request()
	direct := http.RoundTripper(canned{answer: &http.Response{}})
	for name, transport := range map[string]http.RoundTripper{
		"direct": direct, "between": &passing{base: direct}, "wrapped": Transport(direct),
	} {
		transport := transport
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				transport.RoundTrip(r)
			}
		})
	}
}

// passing is a wrapper that only passes calls on: the least that any wrapper costs.
type passing struct {
	next http.Handler
	base http.RoundTripper
}

func (p *passing) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.next.ServeHTTP(w, r) }

func (p *passing) RoundTrip(r *http.Request) (*http.Response, error) { return p.base.RoundTrip(r) }
