package main

import (
	"context"
	"encoding/json"
	"errors"
	"sort"
	"sync"
	"time"

	"usdt.local/go-stubs/examples/httpd/probes"
)

// errNotFound says that there is no item of that key.
var errNotFound = errors.New("no such item")

// store keeps items. Reading one takes latency, as from a disk; the cache in front keeps what was read for ttl.
type store struct {
	latency, ttl time.Duration

	mu    sync.Mutex
	items map[string]json.RawMessage
	cache map[string]cached
}

type cached struct {
	item   json.RawMessage
	stored time.Time
}

func newStore(latency, ttl time.Duration) *store {
	return &store{
		latency: latency,
		ttl:     ttl,
		items:   make(map[string]json.RawMessage),
		cache:   make(map[string]cached),
	}
}

func (s *store) get(key string) (json.RawMessage, error) {
	s.mu.Lock()
	entry, ok := s.cache[key]
	s.mu.Unlock()
	if age := time.Since(entry.stored); ok && age < s.ttl {
		probes.CacheHit(key, int64(age))
		return entry.item, nil
	}
	probes.CacheMiss(key)
	time.Sleep(s.latency)

	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[key]
	if !ok {
		return nil, errNotFound
	}
	s.cache[key] = cached{item: item, stored: time.Now()}
	return item, nil
}

func (s *store) put(key string, item json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items[key] = item
	delete(s.cache, key)
}

func (s *store) remove(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.items[key]; !ok {
		return errNotFound
	}
	delete(s.items, key)
	delete(s.cache, key)
	return nil
}

func (s *store) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.items))
	for key := range s.items {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// evictEvery removes outdated cache entries until the context ends.
func (s *store) evictEvery(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.evict()
		}
	}
}

func (s *store) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := len(s.cache)
	probes.EvictStart(uint64(entries))
	start, evicted := time.Now(), 0
	for key, entry := range s.cache {
		if time.Since(entry.stored) >= s.ttl {
			delete(s.cache, key)
			evicted++
		}
	}
	if probes.EvictEndEnabled() {
		load := 0.0
		if len(s.items) > 0 {
			load = float64(entries) / float64(len(s.items))
		}
		probes.EvictEnd(uint64(evicted), load, int64(time.Since(start)))
	}
}
