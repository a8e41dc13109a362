// Package cgo calls C.
package cgo

// static int twice(int n) { return 2 * n; }
import "C"

// Twice doubles a number in C.
func Twice(n int32, what string) int32 {
	return int32(C.twice(C.int(n))) + int32(len(what)) - int32(len(what))
}
