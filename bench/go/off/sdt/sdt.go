// Package sdt has probes of C, and a look at whether they are enabled, as Go programs without ours call them.
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

// The first byte of a site is a no-op as long as nobody has put a breakpoint there.
static int patched(void)
{
	return *(volatile unsigned char *)(void *)site == 0xcc;
}
*/
import "C"

import "unsafe"

// Hit fires the probe.
func Hit(self, n uint64, text string) {
	C.hit(C.ulong(self), C.ulong(n), (*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.long(len(text)))
}

// Enabled reads the semaphore in C.
func Enabled() bool { return C.enabled() != 0 }

// Patched looks at the site's first byte in C.
func Patched() bool { return C.patched() != 0 }
