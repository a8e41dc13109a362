// Is linked with plug.c, and fires its probe at once.
#include <sys/sdt.h>

void plug(int n);

int main(void)
{
	DTRACE_PROBE(linked, start);
	for (int n = 0; n < 20; n++)
		plug(n);
	DTRACE_PROBE(linked, end);
	return 0;
}
