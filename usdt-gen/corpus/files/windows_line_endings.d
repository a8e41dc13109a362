provider win {
	/* Two
	 * lines. */
	probe a(int x);
#define Y int
	probe b(Y y);
};
