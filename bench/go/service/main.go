// Service answers requests for priced orders: a service as small as services get, with some work in each request.
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

func answer(w http.ResponseWriter, r *http.Request) {
	id := requests.Add(1)
	probes.RequestStart(id, r.Method, r.URL.Path)
	count, _ := strconv.Atoi(r.URL.Query().Get("items"))
	var all order
	sum := sha256.Sum256([]byte(r.URL.RawQuery))
	for n := range min(count, 100) {
		sum = sha256.Sum256(sum[:])
		one := item{Name: hex.EncodeToString(sum[:8]), Count: n + 1, Price: float64(sum[0])}
		all.Items = append(all.Items, one)
		all.Total += float64(one.Count) * one.Price
	}
	all.ID = hex.EncodeToString(sum[:])
	body, err := json.Marshal(all)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	written, _ := w.Write(body)
	probes.RequestDone(id, http.StatusOK, uint64(written))
}

// spans has a span for each request, with what the probes' arguments say.
func spans(tracer trace.Tracer, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path)))
		next(w, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", http.StatusOK))
		span.End()
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "address")
	otel := flag.String("otel", "", "address of a collector to send spans to")
	flag.Parse()

	handler := http.HandlerFunc(answer)
	if *otel != "" {
		exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpoint(*otel), otlptracehttp.WithInsecure())
		if err != nil {
			log.Fatal(err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
		handler = spans(provider.Tracer("service"), answer)
	}
	http.Handle("/orders", handler)
	log.Fatal(http.ListenAndServe(*address, nil))
}
