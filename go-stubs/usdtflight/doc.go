// Package usdtflight runs the flight recorder of Go's execution tracer only while a tracer is attached: attaching
// to a probe of provider flight arms it, detaching disarms it.
//
//	go usdtflight.Run(ctx, usdtflight.Config{Dir: "/var/tmp"})
//	…
//	if took > time.Second {
//		usdtflight.Snapshot("slow request")
//	}
//
// Snapshot writes what happened before it to a file that `go tool trace` reads, if the recorder is armed, and does next to
// nothing otherwise. From outside, `usdt-attach snapshot -p PID` arms the recorder, asks for a snapshot and says
// where it is.
//
// It needs Go 1.25.
package usdtflight
