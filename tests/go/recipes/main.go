// Command recipes uses the libraries that presets of usdt-gen inject are for, against servers in
// the same process. It knows nothing of probes.
package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"time"

	"usdt.local/tests/recipes/store"
	"usdt.local/tests/recipes/web"
)

const timeout = 20 * time.Second

func main() {
	queryDatabases()
	useRedis()
	writeAndFetchMessages()
	callServices()
	serveRequests()
	callOwnPackages()
}

func callOwnPackages() {
	var s store.Store
	must(s.Put("a", 1))
	mustFail(s.Put("", 1))
	if _, ok := s.Get("a"); !ok {
		mustFail(nil)
	}
	for path, handler := range web.Routes() {
		handler(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func mustFail(err error) {
	if err == nil {
		fmt.Fprintln(os.Stderr, "an operation that has to fail did not")
		os.Exit(1)
	}
}
