provider app {
	probe a(int returns_function(int)(void));
	probe b(int table[3](int));
	probe c(int (*fine)(int), int (*also[2])(void));
	probe d(int name (*)(void));
};
