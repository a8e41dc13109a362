union value {
	long number;
	double real;
	struct { uint32_t low, high; };
	char text[20];
};
struct tagged { int kind; union value as; union { int i; float f; }; };
provider unions { probe set(union value *v, struct tagged *t); };
