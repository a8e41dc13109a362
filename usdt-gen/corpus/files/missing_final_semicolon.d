provider tap {
	probe a(int x)
	probe b();
}
