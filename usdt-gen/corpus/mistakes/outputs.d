provider app {
	probe a(int i) : (int j);
	probe b(int i) : (int);
};
