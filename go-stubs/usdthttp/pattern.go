//go:build go1.23

package usdthttp

import "net/http"

// pattern returns the route that a ServeMux behind the handler has chosen.
func pattern(r *http.Request) string { return r.Pattern }
