//go:build go1.25

package main

import (
	"context"
	"time"

	"usdt.local/go-stubs/usdtflight"
)

// runRecorder runs the flight recorder for a time. If requestOne is true, it requests a snapshot
// once a tracer attaches.
func runRecorder(linger time.Duration, dir string, requestOne bool) {
	ctx, stop := context.WithTimeout(context.Background(), linger)
	defer stop()
	go func() {
		for requestOne && ctx.Err() == nil {
			if usdtflight.Snapshot("slow request") {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	usdtflight.Run(ctx, usdtflight.Config{Dir: dir, MinAge: time.Second, PollInterval: 5 * time.Millisecond})
}
