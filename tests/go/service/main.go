// Command service is a service of many packages: an HTTP router, a Redis client, an embedded store,
// and a package in C. It sends itself a fixed number of requests and exits. It knows nothing of
// probes.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"usdt.local/tests/service/store"
	"usdt.local/tests/service/web"
)

// The numbers of requests of each kind.
const puts, gets, lists = 30, 50, 7

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	folder, err := os.MkdirTemp("", "service")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	items, err := store.Open(filepath.Join(folder, "items.db"))
	if err != nil {
		return err
	}
	defer items.Close()
	cache, err := miniredis.Run()
	if err != nil {
		return err
	}
	defer cache.Close()
	client := redis.NewClient(&redis.Options{Addr: cache.Addr(), PoolSize: 1})
	defer client.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: web.New(items, client)}
	go server.Serve(listener)
	defer server.Close()
	return send("http://" + listener.Addr().String())
}

func send(url string) error {
	for i := 0; i < puts; i++ {
		request, err := http.NewRequest("PUT", fmt.Sprintf("%s/items/k%d", url, i), strings.NewReader(strings.Repeat("x", i+1)))
		if err != nil {
			return err
		}
		if err := do(request, http.StatusNoContent); err != nil {
			return err
		}
	}
	for i := 0; i < gets; i++ {
		status := http.StatusOK
		if i >= puts {
			status = http.StatusNotFound
		}
		request, err := http.NewRequest("GET", fmt.Sprintf("%s/items/k%d", url, i), nil)
		if err != nil {
			return err
		}
		if err := do(request, status); err != nil {
			return err
		}
	}
	for i := 0; i < lists; i++ {
		request, err := http.NewRequest("GET", url+"/items?reverse=true", nil)
		if err != nil {
			return err
		}
		if err := do(request, http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

func do(request *http.Request, status int) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		return fmt.Errorf("%s %s: %s", request.Method, request.URL, response.Status)
	}
	return nil
}
