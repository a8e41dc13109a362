//go:build !go1.23

package usdthttp

import "net/http"

// pattern returns an empty string, because requests have no pattern before Go 1.23.
func pattern(*http.Request) string { return "" }
