//go:build !go1.25

package main

import "time"

func flight(time.Duration, string, bool) {}
