provider app {
	probe a(int x)
	probe b(int x)
}
