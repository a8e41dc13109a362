// Package injected has functions of two bodies. Of each three, two get injected probes.
package injected

import "errors"

var errEmpty = errors.New("empty")

// Plain has no probes.
//
//go:noinline
func Plain(id uint64, text string) (uint64, error) {
	if text == "" {
		return 0, errEmpty
	}
	return sum(id, text), nil
}

// Default has probes in the default form.
//
//go:noinline
func Default(id uint64, text string) (uint64, error) {
	if text == "" {
		return 0, errEmpty
	}
	return sum(id, text), nil
}

// Copy has probes in the form of a copy.
//
//go:noinline
func Copy(id uint64, text string) (uint64, error) {
	if text == "" {
		return 0, errEmpty
	}
	return sum(id, text), nil
}

// PlainLeaf has no probes, and calls no other function.
//
//go:noinline
func PlainLeaf(id uint64, text string) (uint64, error) {
	if text == "" {
		return 0, errEmpty
	}
	return id + uint64(len(text)), nil
}

// DefaultLeaf has probes in the default form, and calls no other function.
//
//go:noinline
func DefaultLeaf(id uint64, text string) (uint64, error) {
	if text == "" {
		return 0, errEmpty
	}
	return id + uint64(len(text)), nil
}

// CopyLeaf has probes in the form of a copy, and calls no other function.
//
//go:noinline
func CopyLeaf(id uint64, text string) (uint64, error) {
	if text == "" {
		return 0, errEmpty
	}
	return id + uint64(len(text)), nil
}

//go:noinline
func sum(id uint64, text string) uint64 {
	return id + uint64(len(text))
}
