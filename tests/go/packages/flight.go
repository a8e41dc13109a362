//go:build go1.25

package main

import (
	"context"
	"time"

	"usdt.local/go-stubs/usdtflight"
)

func flight(linger time.Duration, dir string, slow bool) {
	ctx, stop := context.WithTimeout(context.Background(), linger)
	defer stop()
	go func() {
		for slow && ctx.Err() == nil {
			if usdtflight.Armed() {
				usdtflight.Snapshot("slow request")
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	usdtflight.Run(ctx, usdtflight.Config{Dir: dir, MinAge: time.Second, Look: 5 * time.Millisecond})
}
