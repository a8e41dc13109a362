// A library whose constructor fires its probe, before `main` runs.
#include <sys/sdt.h>

__attribute__((constructor)) static void start(void)
{
	for (int n = 0; n < 3; n++)
		DTRACE_PROBE1(starting, up, n);
}
