// Fires probes whose strings are in pages that the process has mapped but never read. Its first
// argument is a file: it begins with "at the start" and a NUL, and has "crosses a page" and a NUL 6
// bytes before the end of its first page. With a second argument, it waits for SIGUSR1 first, and does
// not end.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sdt.h>
#include <unistd.h>

static int file;

// Constants far from all others: reading a page may bring its neighbors into memory.
static const char literals[3 * 65536] __attribute__((aligned(65536))) = {
	[65536] = 'a', ' ', 'l', 'i', 't', 'e', 'r', 'a', 'l',
};

// A new mapping of the file, which is dropped from the page cache.
static const char *fresh(void) {
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	char *at = mmap(0, 4 * 4096, PROT_READ, MAP_PRIVATE, file, 0);
	if (at == MAP_FAILED)
		_exit(1);
	madvise(at, 4 * 4096, MADV_RANDOM);
	return at;
}

int main(int argc, char **argv) {
	if (argc > 2) {
		sigset_t signals;
		int signal;
		sigemptyset(&signals);
		sigaddset(&signals, SIGUSR1);
		sigprocmask(SIG_BLOCK, &signals, 0);
		sigwait(&signals, &signal);
	}
	file = open(argc > 1 ? argv[1] : "", O_RDONLY);
	if (file < 0) {
		perror("open");
		return 1;
	}
	char *none = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 3; i++) {
		DTRACE_PROBE2(cold, start, i, fresh());
		DTRACE_PROBE2(cold, crossing, i, fresh() + 4090);
		DTRACE_PROBE3(cold, counted, fresh() + 4090, (int)14, i);
		DTRACE_PROBE2(cold, absent, i, none);
		DTRACE_PROBE2(cold, literal, i, literals + 65536);
	}
	if (argc > 2)
		pause();
	return 0;
}
