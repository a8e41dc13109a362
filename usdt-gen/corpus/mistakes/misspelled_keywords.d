porvider app {
	probe a();
};
provider two {
	porbe b();
	probe c();
};
strct x { int a; };
