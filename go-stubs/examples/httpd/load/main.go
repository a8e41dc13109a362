// Load sends requests to the example service from several concurrent clients.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8080", "URL of the service")
	clients := flag.Int("clients", 4, "number of concurrent clients")
	duration := flag.Duration("duration", 10*time.Second, "how long to send requests")
	pause := flag.Duration("pause", 20*time.Millisecond, "pause of each client between requests")
	flag.Parse()

	client := &http.Client{Timeout: 5 * time.Second}
	end := time.Now().Add(*duration)
	var sent, failed atomic.Int64
	var wait sync.WaitGroup
	for i := 0; i < *clients; i++ {
		wait.Add(1)
		random := rand.New(rand.NewSource(int64(i)))
		go func() {
			defer wait.Done()
			for time.Now().Before(end) {
				if err := sendRandom(client, *url, random); err != nil {
					failed.Add(1)
				}
				sent.Add(1)
				time.Sleep(*pause)
			}
		}()
	}
	wait.Wait()
	fmt.Printf("%d requests, %d failed\n", sent.Load(), failed.Load())
	if failed.Load() > 0 {
		os.Exit(1)
	}
}

// sendRandom sends a random request: mostly reads, some of them of an item that never exists.
func sendRandom(client *http.Client, url string, random *rand.Rand) error {
	path := fmt.Sprintf("%s/items/item-%d", url, random.Intn(10))
	method, body := http.MethodGet, ""
	switch random.Intn(10) {
	case 0, 1:
		method, body = http.MethodPut, fmt.Sprintf(`{"value":%d}`, random.Intn(1000))
	case 2:
		path = url + "/items/none"
	}
	request, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
