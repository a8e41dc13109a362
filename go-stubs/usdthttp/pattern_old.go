//go:build !go1.23

package usdthttp

import "net/http"

// pattern is not known before Go 1.23.
func pattern(*http.Request) string { return "" }
