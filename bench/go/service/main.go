// Service is a minimal HTTP service that does some work for each request: it returns the JSON of an
// order.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"strconv"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"usdt.local/bench/probes"
)

type item struct {
	Name  string  `json:"name"`
	Count int     `json:"count"`
	Price float64 `json:"price"`
}

type order struct {
	ID    string  `json:"id"`
	Items []item  `json:"items"`
	Total float64 `json:"total"`
}

var requests atomic.Uint64

// handleOrder returns an order with as many items as the query says, and fires the request probes.
func handleOrder(w http.ResponseWriter, r *http.Request) {
	id := requests.Add(1)
	probes.RequestStart(id, r.Method, r.URL.Path)
	count, _ := strconv.Atoi(r.URL.Query().Get("items"))
	var result order
	sum := sha256.Sum256([]byte(r.URL.RawQuery))
	for n := range min(count, 100) {
		sum = sha256.Sum256(sum[:])
		next := item{Name: hex.EncodeToString(sum[:8]), Count: n + 1, Price: float64(sum[0])}
		result.Items = append(result.Items, next)
		result.Total += float64(next.Count) * next.Price
	}
	result.ID = hex.EncodeToString(sum[:])
	body, err := json.Marshal(result)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	written, _ := w.Write(body)
	probes.RequestDone(id, http.StatusOK, uint64(written))
}

// withSpans wraps next so that each request has a span with the same data as the probes.
func withSpans(tracer trace.Tracer, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path)))
		next(w, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", http.StatusOK))
		span.End()
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	otel := flag.String("otel", "", "address of an OTLP collector to export spans to")
	flag.Parse()

	handler := http.HandlerFunc(handleOrder)
	if *otel != "" {
		exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpoint(*otel), otlptracehttp.WithInsecure())
		if err != nil {
			log.Fatal(err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
		handler = withSpans(provider.Tracer("service"), handleOrder)
	}
	http.Handle("/orders", handler)
	log.Fatal(http.ListenAndServe(*address, nil))
}
