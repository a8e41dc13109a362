package usdthttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"usdt.local/go-stubs/usdthttp"
)

func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	server := httptest.NewServer(usdthttp.NewHandler(mux))
	defer server.Close()

	client := http.Client{Transport: usdthttp.NewTransport(nil)}
	response, err := client.Get(server.URL + "/hello")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	// Output: 200 OK
}
