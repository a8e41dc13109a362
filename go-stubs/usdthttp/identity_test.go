package usdthttp_test

import (
	"net/http"
	"testing"

	"usdt.local/go-stubs/usdthttp"
)

// A wrapper is still equal to itself after it has been stored as any, as context.Value and sync.Map
// do.
func TestHandlerEqualsItselfThroughAny(t *testing.T) {
	h := usdthttp.NewHandler(http.NotFoundHandler())
	var boxed any = h
	unboxed, ok := boxed.(http.Handler)
	if !ok || unboxed != h {
		t.Error("a handler taken out of an any differs from the one put in")
	}
	if found := map[http.Handler]string{h: "found"}[unboxed]; found != "found" {
		t.Error("a handler taken out of an any is not found as a map key")
	}
}

func TestTransportEqualsItselfThroughAny(t *testing.T) {
	transport := usdthttp.NewTransport(nil)
	var boxed any = transport
	unboxed, ok := boxed.(http.RoundTripper)
	if !ok || unboxed != transport {
		t.Error("a transport taken out of an any differs from the one put in")
	}
	if found := map[http.RoundTripper]string{transport: "found"}[unboxed]; found != "found" {
		t.Error("a transport taken out of an any is not found as a map key")
	}
}
