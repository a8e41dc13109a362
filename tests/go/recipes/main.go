// Command recipes uses the libraries that presets of usdt-gen inject are for, against servers in
// the same process. It knows nothing of probes.
package main

import (
	"fmt"
	"os"
	"time"
)

const timeout = 20 * time.Second

func main() {
	queryDatabases()
	useRedis()
	writeAndFetchMessages()
	callServices()
	serveRequests()
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
