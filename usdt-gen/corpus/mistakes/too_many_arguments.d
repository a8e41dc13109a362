provider app {
	probe a(string a, string b, string c, string d, string e, string f, int g);
};
