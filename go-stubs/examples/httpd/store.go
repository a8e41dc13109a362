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

// errNotFound is the error for a key without an item.
var errNotFound = errors.New("no such item")

// store holds items. Reading an item takes latency, as from a disk. A cache keeps items for ttl
// after they are read.
type store struct {
	latency, ttl time.Duration

	mu    sync.Mutex
	items map[string]json.RawMessage
	cache map[string]cacheEntry
}

type cacheEntry struct {
	item   json.RawMessage
	stored time.Time
}

func newStore(latency, ttl time.Duration) *store {
	return &store{
		latency: latency,
		ttl:     ttl,
		items:   make(map[string]json.RawMessage),
		cache:   make(map[string]cacheEntry),
	}
}

func (s *store) get(key string) (json.RawMessage, error) {
	s.mu.Lock()
	entry, ok := s.cache[key]
	s.mu.Unlock()
	if age := time.Since(entry.stored); ok && age < s.ttl {
		probes.CacheHit(key, age)
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
	s.cache[key] = cacheEntry{item: item, stored: time.Now()}
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

// evictEvery removes expired cache entries at the given interval until ctx is done.
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
		probes.EvictEnd(uint64(evicted), load, time.Since(start))
	}
}
