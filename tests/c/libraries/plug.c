// A library with a probe.
#include <sys/sdt.h>

void plug(int n)
{
	DTRACE_PROBE1(plug, hit, n);
}
