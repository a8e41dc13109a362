package usdthttp

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// discardWriter is a ResponseWriter without optional interfaces.
type discardWriter struct{ header http.Header }

func (w discardWriter) Header() http.Header            { return w.header }
func (w discardWriter) Write(data []byte) (int, error) { return len(data), nil }
func (w discardWriter) WriteHeader(int)                {}

func handleNothing(http.ResponseWriter, *http.Request) {}

func newRequest() (http.ResponseWriter, *http.Request) {
	return discardWriter{http.Header{}}, httptest.NewRequest("GET", "/a/b", nil)
}

// fakeTransport returns the same result for every request.
type fakeTransport struct {
	response *http.Response
	err      error
}

func (t fakeTransport) RoundTrip(*http.Request) (*http.Response, error) { return t.response, t.err }

func TestDisabledAddsNoAllocation(t *testing.T) {
	w, r := newRequest()
	handler := NewHandler(http.HandlerFunc(handleNothing))
	transport := NewTransport(fakeTransport{response: &http.Response{}})
	if n := testing.AllocsPerRun(1000, func() {
		handler.ServeHTTP(w, r)
		transport.RoundTrip(r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTracedHandlerSendsTheSameResponse(t *testing.T) {
	handle := func(w http.ResponseWriter, r *http.Request) {
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
	traced := &handler{next: http.HandlerFunc(handle)}
	server := httptest.NewServer(http.HandlerFunc(traced.serveTraced))
	defer server.Close()
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/flush": {200, "ab"}, "/copy": {200, "copied"}, "/status": {418, ""}, "/hijack": {202, ""}, "/controller": {200, ""},
	} {
		client := http.Client{Transport: NewTransport(nil)}
		response, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(path, err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != want.status || string(body) != want.body {
			t.Errorf("%s: got %d %q %v, want %d %q", path, response.StatusCode, body, err, want.status, want.body)
		}
	}
}

func TestTracedWriterImplementsTheServersOptionalInterfaces(t *testing.T) {
	plain := (&responseWriter{ResponseWriter: discardWriter{http.Header{}}}).withOptionalInterfaces()
	if _, ok := plain.(http.Flusher); ok {
		t.Error("the writer implements http.Flusher, but the server's own does not")
	}
	recorder := (&responseWriter{ResponseWriter: httptest.NewRecorder()}).withOptionalInterfaces()
	if _, ok := recorder.(http.Flusher); !ok {
		t.Error("the writer does not implement http.Flusher, but the server's own does")
	}
	if _, ok := recorder.(http.Hijacker); ok {
		t.Error("the writer implements http.Hijacker, but the server's own does not")
	}
	pusher := (&responseWriter{ResponseWriter: pushRecorder{httptest.NewRecorder()}}).withOptionalInterfaces()
	if err := pusher.(http.Pusher).Push("/x", nil); !errors.Is(err, http.ErrNotSupported) {
		t.Error(err)
	}
}

// pushRecorder is a ResponseRecorder that implements http.Pusher.
type pushRecorder struct{ *httptest.ResponseRecorder }

func (pushRecorder) Push(string, *http.PushOptions) error { return http.ErrNotSupported }

func TestTracedHandlerPropagatesPanics(t *testing.T) {
	defer func() {
		if recover() != "x" {
			t.Error("the handler's panic did not reach the caller")
		}
	}()
	traced := &handler{next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })}
	traced.serveTraced(newRequest())
}

func TestTracedTransportReturnsErrors(t *testing.T) {
	_, r := newRequest()
	errFailed := errors.New("x")
	if _, err := (&transport{base: fakeTransport{err: errFailed}}).roundTripTraced(r); err != errFailed {
		t.Errorf("got %v, want %v", err, errFailed)
	}
}

// closeCounter counts calls of CloseIdleConnections.
type closeCounter struct {
	fakeTransport
	closed int
}

func (c *closeCounter) CloseIdleConnections() { c.closed++ }

func TestTransportClosesIdleConnectionsOfItsBase(t *testing.T) {
	base := &closeCounter{}
	(&http.Client{Transport: NewTransport(base)}).CloseIdleConnections()
	if base.closed != 1 {
		t.Errorf("called %d times, want once", base.closed)
	}
	// A base without the method is fine.
	(&http.Client{Transport: NewTransport(fakeTransport{})}).CloseIdleConnections()
}

func BenchmarkHandler(b *testing.B) {
	w, r := newRequest()
	direct := http.Handler(http.HandlerFunc(handleNothing))
	for name, handler := range map[string]http.Handler{
		"direct": direct, "between": &passThrough{next: direct}, "wrapped": NewHandler(direct),
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
	_, r := newRequest()
	direct := http.RoundTripper(fakeTransport{response: &http.Response{}})
	for name, transport := range map[string]http.RoundTripper{
		"direct": direct, "between": &passThrough{base: direct}, "wrapped": NewTransport(direct),
	} {
		transport := transport
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				transport.RoundTrip(r)
			}
		})
	}
}

// passThrough is a wrapper that only calls what it wraps: the minimum cost of any wrapper.
type passThrough struct {
	next http.Handler
	base http.RoundTripper
}

func (p *passThrough) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.next.ServeHTTP(w, r) }

func (p *passThrough) RoundTrip(r *http.Request) (*http.Response, error) { return p.base.RoundTrip(r) }
