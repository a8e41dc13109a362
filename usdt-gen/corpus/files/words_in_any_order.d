provider words {
	probe a(long unsigned int a, int long b, unsigned c, long long int unsigned d, short signed e);
	probe b(char c, signed char sc, unsigned char uc, int short unsigned f, double d, float g, long int long h);
};
