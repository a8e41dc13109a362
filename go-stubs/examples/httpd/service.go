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

// maxItem is the largest item accepted, in bytes.
const maxItem = 64 << 10

// service answers requests from a store and fires the request probes.
type service struct {
	store *store
	last  atomic.Uint64
}

func newService(store *store) *service {
	return &service{store: store}
}

// ServeHTTP numbers the request and measures its answer.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, start := s.last.Add(1), time.Now()
	probes.RequestStart(id, r.Method, r.URL.Path)
	answer := &recorder{ResponseWriter: w, status: http.StatusOK}
	s.route(answer, r, id)
	probes.RequestEnd(id, r.URL.Path, int32(answer.status), answer.bytes, int64(time.Since(start)))
}

func (s *service) route(w http.ResponseWriter, r *http.Request, id uint64) {
	key, isItem := strings.CutPrefix(r.URL.Path, "/items/")
	switch {
	case r.URL.Path == "/healthz":
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	case r.URL.Path == "/items" && r.Method == http.MethodGet:
		reply(w, http.StatusOK, s.store.keys())
	case isItem && key != "":
		s.item(w, r, id, key)
	default:
		reply(w, http.StatusNotFound, failure{"no such page"})
	}
}

func (s *service) item(w http.ResponseWriter, r *http.Request, id uint64, key string) {
	var err error
	switch r.Method {
	case http.MethodGet:
		var item json.RawMessage
		if item, err = s.store.get(key); err == nil {
			reply(w, http.StatusOK, item)
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
		reply(w, http.StatusMethodNotAllowed, failure{"use GET, PUT or DELETE"})
		return
	}
	probes.RequestError(id, r.Method+" "+key, err)
	status := http.StatusBadRequest
	if errors.Is(err, errNotFound) {
		status = http.StatusNotFound
	}
	reply(w, status, failure{err.Error()})
}

func (s *service) put(r *http.Request, key string) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxItem+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxItem:
		return errors.New("the item is too large")
	case !json.Valid(body):
		return errors.New("the item is not JSON")
	}
	s.store.put(key, body)
	return nil
}

// failure is the JSON of an unsuccessful answer.
type failure struct {
	Error string `json:"error"`
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; nobody else would want to know.
	_ = json.NewEncoder(w).Encode(value)
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  uint64
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(data []byte) (int, error) {
	n, err := r.ResponseWriter.Write(data)
	r.bytes += uint64(n)
	return n, err
}
