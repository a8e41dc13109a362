// Package store has methods of every kind, for a rule that matches the exported ones.
package store

import (
	"fmt"
	"strings"
)

// Store keeps sizes by key.
type Store struct{ sizes map[string]int }

// Put adds a key.
func (s *Store) Put(key string, size int) error {
	if strings.TrimSpace(key) == "" {
		return fmt.Errorf("empty key")
	}
	s.grow()
	s.sizes[key] = size
	return nil
}

// Get returns the size of a key.
func (s *Store) Get(key string) (size int, ok bool) {
	size, ok = s.sizes[strings.TrimSpace(key)]
	return size, ok
}

func (s *Store) grow() {
	if s.sizes == nil {
		s.sizes = make(map[string]int, len(strings.Repeat("x", 8)))
	}
}
