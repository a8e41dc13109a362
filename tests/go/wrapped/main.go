// Command wrapped is a web server that other tools instrument during the build. It sends itself 20
// requests and exits.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
)

const requests = 20

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	http.HandleFunc("/orders", handle)
	server := &http.Server{}
	go server.Serve(listener)
	defer server.Close()
	for n := range requests {
		if err := get(fmt.Sprintf("http://%s/orders?items=%d", listener.Addr(), n)); err != nil {
			return err
		}
	}
	return nil
}

func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func handle(w http.ResponseWriter, r *http.Request) {
	items, err := strconv.Atoi(r.FormValue("items"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, price(items))
}

func price(items int) int { return 3 * items }
