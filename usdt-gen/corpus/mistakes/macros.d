#define F(a, b) a b
#define
#define G(1)
provider app {
	probe a(F(int));
	probe b(F(int, x);
};
