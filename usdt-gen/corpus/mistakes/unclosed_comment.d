provider app {
	probe a();
/* never closed
};
