struct point { int x, y; };
typedef struct { int a; } pair_t;
union u { int a; };
provider app {
	probe a(struct point p);
	probe b(pair_t p);
	probe c(union u u);
};
