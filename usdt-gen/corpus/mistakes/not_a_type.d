provider app {
	probe a(long long long x);
	probe b(void v);
	probe c(long double x);
	probe d(unsigned float x);
};
