// Load sends requests to a service, at a given rate or as fast as it responds, and prints
// throughput and latencies as JSON. With -collect, it is a collector that accepts and discards
// everything.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var errStatus = errors.New("unexpected status")

func main() {
	collect := flag.String("collect", "", "address to listen on as a collector instead")
	url := flag.String("url", "", "URL to request")
	rate := flag.Float64("rate", 0, "requests per second; 0 for as many as possible")
	duration := flag.Duration("duration", time.Second, "how long to send requests")
	workers := flag.Int("workers", 8, "number of connections")
	flag.Parse()
	if *collect != "" {
		log.Fatal(http.ListenAndServe(*collect, http.HandlerFunc(discard)))
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *workers, DisableCompression: true}}
	var failed, sent atomic.Int64
	var wait sync.WaitGroup
	latencies := make([][]time.Duration, *workers)
	start := time.Now()
	for worker := range *workers {
		wait.Go(func() {
			for {
				// Latency counts from the time when the request was due, not when it was sent.
				// Otherwise a slow response would hide the delay of the requests after it
				// (coordinated omission).
				due := time.Now()
				if *rate > 0 {
					due = start.Add(time.Duration(float64(sent.Add(1)) / *rate * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				if due.Sub(start) > *duration {
					return
				}
				if err := get(client, *url); err != nil {
					failed.Add(1)
				}
				latencies[worker] = append(latencies[worker], time.Since(due))
			}
		})
	}
	wait.Wait()
	elapsed := time.Since(start)
	sorted := slices.Concat(latencies...)
	slices.Sort(sorted)
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"requests": float64(len(sorted)), "failed": float64(failed.Load()),
		"throughput": float64(len(sorted)) / elapsed.Seconds(),
		"p50":        quantile(sorted, 0.5), "p99": quantile(sorted, 0.99), "p999": quantile(sorted, 0.999),
	})
}

// quantile returns the q-quantile of sorted latencies in microseconds, or 0 if there are none.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	index := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[index].Nanoseconds()) / 1e3
}

// get sends a request and reads the response. Any status but 200 is an error.
func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errStatus
	}
	return err
}

// discard is a collector that accepts every request.
func discard(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, "{}")
}
