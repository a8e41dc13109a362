package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"usdt.local/go-stubs/examples/httpd/probes"
)

// maxItemSize is the maximum size of an item in bytes.
const maxItemSize = 64 << 10

// service is the HTTP handler. It serves items from a store and fires the request probes.
type service struct {
	store         *store
	lastRequestID atomic.Uint64
}

func newService(store *store) *service {
	return &service{store: store}
}

// ServeHTTP handles a request and fires httpd:request__start and httpd:request__end.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, start := s.lastRequestID.Add(1), time.Now()
	probes.RequestStart(id, r.Method, r.URL.Path)
	response := &responseRecorder{ResponseWriter: w, status: http.StatusOK}
	s.route(response, r, id)
	probes.RequestEnd(id, r.URL.Path, int32(response.status), response.bytes, time.Since(start))
}

func (s *service) route(w http.ResponseWriter, r *http.Request, id uint64) {
	key, isItem := strings.CutPrefix(r.URL.Path, "/items/")
	switch {
	case r.URL.Path == "/healthz":
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	case r.URL.Path == "/items" && r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, s.store.keys())
	case isItem && key != "":
		s.serveItem(w, r, id, key)
	default:
		writeJSON(w, http.StatusNotFound, errorResponse{"no such page"})
	}
}

func (s *service) serveItem(w http.ResponseWriter, r *http.Request, id uint64, key string) {
	var err error
	switch r.Method {
	case http.MethodGet:
		var item json.RawMessage
		if item, err = s.store.get(key); err == nil {
			writeJSON(w, http.StatusOK, item)
			return
		}
	case http.MethodPut:
		if err = s.put(r, key); err == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	case http.MethodDelete:
		if err = s.store.remove(key); err == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	default:
		writeJSON(w, http.StatusMethodNotAllowed, errorResponse{"use GET, PUT or DELETE"})
		return
	}
	probes.RequestError(id, r.Method+" "+key, err)
	status := http.StatusBadRequest
	if errors.Is(err, errNotFound) {
		status = http.StatusNotFound
	}
	writeJSON(w, status, errorResponse{err.Error()})
}

func (s *service) put(r *http.Request, key string) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxItemSize+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxItemSize:
		return errors.New("the item is too large")
	case !json.Valid(body):
		return errors.New("the item is not JSON")
	}
	s.store.put(key, body)
	return nil
}

// errorResponse is the body of a response with an error status.
type errorResponse struct {
	Error string `json:"error"`
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The only possible error is a closed connection, and then no client waits for the response.
	_ = json.NewEncoder(w).Encode(value)
}

// responseRecorder is a ResponseWriter that records the status and the number of bytes written.
type responseRecorder struct {
	http.ResponseWriter
	status int
	bytes  uint64
}

func (r *responseRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *responseRecorder) Write(data []byte) (int, error) {
	n, err := r.ResponseWriter.Write(data)
	r.bytes += uint64(n)
	return n, err
}
