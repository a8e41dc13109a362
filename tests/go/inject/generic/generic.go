// Package generic has functions and methods with type parameters.
package generic

import "sort"

// A Tree is not one.
type Tree[K ~string, V any] struct{ items map[K]V }

// Put adds an item.
func (t *Tree[K, V]) Put(key K, value V, tag string) (int, bool) {
	if t.items == nil {
		t.items = map[K]V{}
	}
	_, found := t.items[key]
	t.items[key] = value
	return len(t.items), found
}

// Sorted sorts a slice.
func Sorted[T any](items []T, name string, less func(a, b T) bool) []T {
	sort.Slice(items, func(i, j int) bool { return less(items[i], items[j]) })
	return items
}
