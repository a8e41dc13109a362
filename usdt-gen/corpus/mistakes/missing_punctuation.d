provider app
	probe a(int x);
};
provider two {
	probe b int x);
	probe c(int x;
	probe d(int x y);
	probe e(int x, );
	probe fine(int x);
};
