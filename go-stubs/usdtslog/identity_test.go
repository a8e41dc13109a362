package usdtslog_test

import (
	"io"
	"log/slog"
	"testing"

	"usdt.local/go-stubs/usdtslog"
)

// A wrapper is still equal to itself after it has been stored as any, as context.Value and sync.Map
// do.
func TestHandlerEqualsItselfThroughAny(t *testing.T) {
	handler := usdtslog.NewHandler(slog.NewTextHandler(io.Discard, nil))
	for name, h := range map[string]slog.Handler{
		"NewHandler": handler,
		"WithAttrs":  handler.WithAttrs([]slog.Attr{slog.Int("a", 1)}),
		"WithGroup":  handler.WithGroup("g"),
	} {
		var boxed any = h
		unboxed, ok := boxed.(slog.Handler)
		if !ok || unboxed != h {
			t.Errorf("%s: a handler taken out of an any differs from the one put in", name)
		}
		if found := map[slog.Handler]string{h: "found"}[unboxed]; found != "found" {
			t.Errorf("%s: a handler taken out of an any is not found as a map key", name)
		}
	}
}
