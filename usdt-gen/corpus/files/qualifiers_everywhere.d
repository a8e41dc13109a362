provider quals {
	probe a(volatile int v, int const c, const volatile unsigned long u, register int r);
	probe b(char const *s, const char *restrict t, char *const *v, static int x);
};
