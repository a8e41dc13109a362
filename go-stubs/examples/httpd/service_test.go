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

func request(t *testing.T, server *httptest.Server, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(text))
}

func TestItems(t *testing.T) {
	store := newStore(0, time.Minute)
	server := httptest.NewServer(newService(store))
	defer server.Close()
	for _, step := range []struct {
		method, path, body string
		status             int
		answer             string
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
		{"PUT", "/items/b", `"` + strings.Repeat("x", maxItem) + `"`, 400, `{"error":"the item is too large"}`},
		{"GET", "/items", "", 200, `["a"]`},
		{"POST", "/items/a", "", 405, `{"error":"use GET, PUT or DELETE"}`},
		{"DELETE", "/items/a", "", 204, ``},
		{"DELETE", "/items/a", "", 404, `{"error":"no such item"}`},
		{"GET", "/nowhere", "", 404, `{"error":"no such page"}`},
	} {
		status, answer := request(t, server, step.method, step.path, step.body)
		if status != step.status || answer != step.answer {
			t.Errorf("%s %s: %d %s, want %d %s", step.method, step.path, status, answer, step.status, step.answer)
		}
	}
}

func TestConcurrentClients(t *testing.T) {
	store := newStore(0, time.Millisecond)
	server := httptest.NewServer(newService(store))
	defer server.Close()
	request(t, server, "PUT", "/items/a", `1`)
	var clients sync.WaitGroup
	for i := 0; i < 8; i++ {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for j := 0; j < 50; j++ {
				if status, _ := request(t, server, "GET", "/items/a", ""); status != 200 {
					t.Errorf("status %d", status)
				}
				store.evict()
			}
		}()
	}
	clients.Wait()
}
