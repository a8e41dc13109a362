provider app {
	probe a();
