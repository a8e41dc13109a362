package usdtslog_test

import (
	"log/slog"
	"os"

	"usdt.local/go-stubs/usdtslog"
)

func Example() {
	options := slog.HandlerOptions{ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
		if attr.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return attr
	}}
	logger := slog.New(usdtslog.Handler(slog.NewTextHandler(os.Stdout, &options)))
	// Tracers see both of them, standard output one.
	logger.Debug("looked up", "key", "a")
	logger.Info("ready", "port", 80)
	// Output: level=INFO msg=ready port=80
}
