// Package store keeps items in a file.
package store

import (
	"errors"
	"sort"

	"github.com/cespare/xxhash/v2"
	bolt "go.etcd.io/bbolt"
)

// ErrNotFound is returned for a key without item.
var ErrNotFound = errors.New("no such item")

var bucket = []byte("items")

// Store is a file with items.
type Store struct{ db *bolt.DB }

// Key is the name of an item.
type Key string

// Open opens or creates a file.
func Open(path string) (*Store, error) {
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return nil, err
	}
	db.NoSync = true
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	return &Store{db}, err
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Put sets an item, and returns the state of the hash of its value.
func (s *Store) Put(key Key, value []byte) (hash []byte, err error) {
	digest := xxhash.New()
	if _, err := digest.Write(value); err != nil {
		return nil, err
	}
	hash, err = digest.MarshalBinary()
	if err != nil {
		return nil, err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucket).Put([]byte(key), value)
	})
	return hash, err
}

// Get returns an item.
func (s *Store) Get(key Key) (value []byte, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		found := tx.Bucket(bucket).Get([]byte(key))
		if found == nil {
			return ErrNotFound
		}
		value = append(value, found...)
		return nil
	})
	return value, err
}

// Keys returns the keys of all items.
func (s *Store) Keys() ([]Key, error) {
	var keys []Key
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(key, _ []byte) error {
			keys = append(keys, Key(key))
			return nil
		})
	})
	return keys, err
}

// Sort sorts a list of any strings.
func Sort[S ~string](list []S, reverse bool) int {
	sort.Slice(list, func(i, j int) bool { return (list[i] < list[j]) != reverse })
	return len(list)
}
