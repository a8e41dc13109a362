// Calls a Go library, which fires a probe, every millisecond until it is killed.
#include <unistd.h>

extern void Tick(long n);

int main(void)
{
	for (long n = 0;; n++) {
		Tick(n);
		usleep(1000);
	}
}
