provider café {
	probe a(int x€);
	probe b();
};
