package usdthttp_test

import (
	"net/http"
	"testing"

	"usdt.local/go-stubs/usdthttp"
)

// A wrapper that has been stored as any, as context.Value and sync.Map do, is still equal to itself.
func TestHandlerEqualsItselfThroughAny(t *testing.T) {
	h := usdthttp.Handler(http.NotFoundHandler())
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
	transport := usdthttp.Transport(nil)
	var boxed any = transport
	unboxed, ok := boxed.(http.RoundTripper)
	if !ok || unboxed != transport {
		t.Error("a transport taken out of an any differs from the one put in")
	}
	if found := map[http.RoundTripper]string{transport: "found"}[unboxed]; found != "found" {
		t.Error("a transport taken out of an any is not found as a map key")
	}
}
