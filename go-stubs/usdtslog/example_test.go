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
	logger := slog.New(usdtslog.NewHandler(slog.NewTextHandler(os.Stdout, &options)))
	// The probe fires for both records; only the second is written to standard output.
	logger.Debug("looked up", "key", "a")
	logger.Info("ready", "port", 80)
	// Output: level=INFO msg=ready port=80
}
