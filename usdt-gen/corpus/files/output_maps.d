provider maps {
	probe swap(int i, int j) : (int j, int i);
	probe twice(int i, char *s) : (int i, string s, int i);
	probe dropped(int i, int j) : (int i);
};
