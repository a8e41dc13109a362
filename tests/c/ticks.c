// Calls a Go library that fires a probe, every millisecond, until it is ended.
#include <unistd.h>

extern void Tick(long n);

int main(void)
{
	for (long n = 0;; n++) {
		Tick(n);
		usleep(1000);
	}
}
