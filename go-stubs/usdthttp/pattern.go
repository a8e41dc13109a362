//go:build go1.23

package usdthttp

import "net/http"

// pattern returns the pattern of the http.ServeMux that matched the request, or an empty string if
// there is none.
func pattern(r *http.Request) string { return r.Pattern }
