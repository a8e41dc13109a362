//go:build linux

// Cold fires a probe with strings that begin in one page of a mapped file and continue in pages that
// are neither mapped nor in the page cache. Its argument is a folder on a disk.
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"usdt.local/tests/probes"
)

const (
	size = 64 * 4096
	// before is the number of bytes of a string in its first page.
	before = 6
)

func main() {
	for !probes.HitEnabled() {
		time.Sleep(time.Millisecond)
	}
	if err := fire(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fire(folder string) error {
	f, err := os.CreateTemp(folder, "cold")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(strings.Repeat("0123456789abcdef", size/16)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	// Without read-ahead, a page brings no other page into memory.
	if err := syscall.Madvise(m, syscall.MADV_RANDOM); err != nil {
		return err
	}
	for i, n := range []int{0, 4, 100, 4096, 9000} {
		if err := syscall.Madvise(m, syscall.MADV_DONTNEED); err != nil {
			return err
		}
		// POSIX_FADV_DONTNEED drops the file from the page cache.
		syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, 4, 0, 0)
		probes.Hit(uint64(i), uint64(n), unsafe.String(&m[4096-before], n))
	}
	return nil
}
