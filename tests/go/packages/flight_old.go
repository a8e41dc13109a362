//go:build !go1.25

package main

import "time"

// runRecorder does nothing: the flight recorder needs Go 1.25.
func runRecorder(time.Duration, string, bool) {}
