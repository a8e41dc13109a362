// Package web answers requests.
package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"usdt.local/tests/service/store"
	"usdt.local/tests/service/sum"
)

type server struct {
	items  *store.Store
	client *redis.Client
	failed *prometheus.CounterVec
}

// New returns the handler of all requests.
func New(items *store.Store, client *redis.Client) http.Handler {
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "failed_requests"}, []string{"status"})
	registry := prometheus.NewRegistry()
	registry.MustRegister(failed)
	s := &server{items, client, failed}
	router := mux.NewRouter()
	router.HandleFunc("/items", s.listHandler).Methods("GET")
	router.HandleFunc("/items/{key}", s.getHandler).Methods("GET")
	router.HandleFunc("/items/{key}", s.putHandler).Methods("PUT")
	router.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return router
}

func (s *server) putHandler(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		s.fail(w, err)
		return
	}
	if _, err := s.items.Put(store.Key(mux.Vars(r)["key"]), data); err != nil {
		s.fail(w, err)
		return
	}
	if err := s.client.IncrBy(r.Context(), "bytes", int64(sum.Bytes(data))).Err(); err != nil {
		s.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) getHandler(w http.ResponseWriter, r *http.Request) {
	value, err := s.items.Get(store.Key(mux.Vars(r)["key"]))
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Write(value)
}

func (s *server) listHandler(w http.ResponseWriter, r *http.Request) {
	keys, err := s.items.Keys()
	if err != nil {
		s.fail(w, err)
		return
	}
	reverse, err := strconv.ParseBool(r.FormValue("reverse"))
	if err != nil {
		s.fail(w, err)
		return
	}
	store.Sort(keys, reverse)
	text, err := json.Marshal(keys)
	if err != nil {
		s.fail(w, err)
		return
	}
	fmt.Fprintf(w, "%s\n", text)
}

func (s *server) fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, store.ErrNotFound) {
		status = http.StatusNotFound
	}
	s.failed.WithLabelValues(strconv.Itoa(status)).Inc()
	http.Error(w, err.Error(), status)
}
