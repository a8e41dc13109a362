//go:build with_cgo

package main

// int twice(int n) { return 2 * n; }
import "C"

func init() {
	if C.twice(2) != 4 {
		panic("wrong result from C")
	}
}
