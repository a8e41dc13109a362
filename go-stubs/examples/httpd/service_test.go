package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// send sends a request and returns the status and the body of the response.
func send(t *testing.T, server *httptest.Server, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	responseBody, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(responseBody))
}

func TestServiceStoresItems(t *testing.T) {
	store := newStore(0, time.Minute)
	server := httptest.NewServer(newService(store))
	defer server.Close()
	for _, step := range []struct {
		method, path, body string
		wantStatus         int
		wantBody           string
	}{
		{"GET", "/healthz", "", 200, `{"status":"ok"}`},
		{"GET", "/items", "", 200, `[]`},
		{"GET", "/items/a", "", 404, `{"error":"no such item"}`},
		{"PUT", "/items/a", `{"n":1}`, 204, ``},
		{"GET", "/items/a", "", 200, `{"n":1}`},
		{"GET", "/items/a", "", 200, `{"n":1}`},
		{"PUT", "/items/a", `{"n":2}`, 204, ``},
		{"GET", "/items/a", "", 200, `{"n":2}`},
		{"PUT", "/items/b", `{`, 400, `{"error":"the item is not JSON"}`},
		{"PUT", "/items/b", `"` + strings.Repeat("x", maxItemSize) + `"`, 400, `{"error":"the item is too large"}`},
		{"GET", "/items", "", 200, `["a"]`},
		{"POST", "/items/a", "", 405, `{"error":"use GET, PUT or DELETE"}`},
		{"DELETE", "/items/a", "", 204, ``},
		{"DELETE", "/items/a", "", 404, `{"error":"no such item"}`},
		{"GET", "/nowhere", "", 404, `{"error":"no such page"}`},
	} {
		status, body := send(t, server, step.method, step.path, step.body)
		if status != step.wantStatus || body != step.wantBody {
			t.Errorf("%s %s: got %d %s, want %d %s", step.method, step.path, status, body, step.wantStatus, step.wantBody)
		}
	}
}

func TestServiceHandlesConcurrentClients(t *testing.T) {
	store := newStore(0, time.Millisecond)
	server := httptest.NewServer(newService(store))
	defer server.Close()
	send(t, server, "PUT", "/items/a", `1`)
	var clients sync.WaitGroup
	for i := 0; i < 8; i++ {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for j := 0; j < 50; j++ {
				if status, _ := send(t, server, "GET", "/items/a", ""); status != 200 {
					t.Errorf("got status %d, want 200", status)
				}
				store.evict()
			}
		}()
	}
	clients.Wait()
}
