// Package web has functions whose names end in Handler.
package web

import (
	"fmt"
	"net/http"
)

// ListHandler lists nothing.
func ListHandler(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.URL.Path) }

type admin struct{}

func (admin) statusHandler(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.Method) }

// Routes returns all handlers.
func Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{"/": ListHandler, "/status": admin{}.statusHandler}
}
