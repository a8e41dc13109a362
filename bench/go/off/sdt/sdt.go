// Package sdt has a C probe, and two ways to find out whether it is enabled, as Go programs use
// them through cgo.
package sdt

/*
#cgo CFLAGS: -O2
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

__extension__ unsigned short bench_hit_semaphore __attribute__((unused)) __attribute__((section(".probes")));

static void hit(unsigned long self, unsigned long n, const char *text, long length)
{
	STAP_PROBE4(bench, hit, self, n, text, length);
}

static int enabled(void)
{
	return __builtin_expect(*(volatile unsigned short *)&bench_hit_semaphore, 0) != 0;
}

__attribute__((noinline)) static void site(void)
{
	__asm__ volatile("nop");
}

// The first byte of the site is a NOP unless a tracer has replaced it with a breakpoint.
static int patched(void)
{
	return *(volatile unsigned char *)(void *)site == 0xcc;
}
*/
import "C"

import "unsafe"

// Hit fires the C probe.
func Hit(self, n uint64, text string) {
	C.hit(C.ulong(self), C.ulong(n), (*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.long(len(text)))
}

// Enabled reports whether the semaphore is not zero, which it reads in C.
func Enabled() bool { return C.enabled() != 0 }

// Patched reports whether the first byte of the site is a breakpoint, which it reads in C.
func Patched() bool { return C.patched() != 0 }
