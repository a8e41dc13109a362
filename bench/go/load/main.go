// Load asks a service, as fast as it answers or at a rate, and says how it did; or takes what tracers send, as a
// collector would.
package main

import (
	"encoding/json"
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

func main() {
	collect := flag.String("collect", "", "be a collector at this address instead")
	url := flag.String("url", "", "what to ask for")
	rate := flag.Float64("rate", 0, "requests a second; as many as are answered where it is 0")
	duration := flag.Duration("duration", time.Second, "for how long")
	workers := flag.Int("workers", 8, "connections")
	flag.Parse()
	if *collect != "" {
		log.Fatal(http.ListenAndServe(*collect, http.HandlerFunc(take)))
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *workers, DisableCompression: true}}
	var failed, asked atomic.Int64
	var wait sync.WaitGroup
	all := make([][]time.Duration, *workers)
	begin := time.Now()
	for worker := range *workers {
		wait.Go(func() {
			for {
				// What was due when counts, not what was asked for when: a slow answer must not hide those behind it.
				due := time.Now()
				if *rate > 0 {
					due = begin.Add(time.Duration(float64(asked.Add(1)) / *rate * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				if due.Sub(begin) > *duration {
					return
				}
				if err := ask(client, *url); err != nil {
					failed.Add(1)
				}
				all[worker] = append(all[worker], time.Since(due))
			}
		})
	}
	wait.Wait()
	took := time.Since(begin)
	times := slices.Concat(all...)
	slices.Sort(times)
	at := func(share float64) float64 {
		if len(times) == 0 {
			return 0
		}
		return float64(times[min(int(share*float64(len(times))), len(times)-1)].Nanoseconds()) / 1e3
	}
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"requests": float64(len(times)), "failed": float64(failed.Load()),
		"throughput": float64(len(times)) / took.Seconds(), "p50": at(0.5), "p99": at(0.99), "p999": at(0.999),
	})
}

func ask(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = http.ErrNotSupported
	}
	return err
}

func take(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, "{}")
}
