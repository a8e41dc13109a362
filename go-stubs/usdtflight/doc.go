// Package usdtflight runs the flight recorder of Go's execution tracer while a tracer is attached
// to a static probe (USDT) of provider flight.
//
//	go usdtflight.Run(ctx, usdtflight.Config{Dir: "/var/tmp"})
//	…
//	if took > time.Second {
//		usdtflight.Snapshot("slow request")
//	}
//
// While the recorder runs, Snapshot writes the recent past to a file for `go tool trace`. Otherwise
// it costs one load and one test. `usdt-attach snapshot -p PID` starts the recorder of a running
// program, requests a snapshot and prints the name of the file.
//
// The package needs Go 1.25.
package usdtflight
