provider lang {
	probe free(void *p);
	probe new(int type, int func, int range);
	probe connect(int go, int g, int SB, int len);
	probe delete();
	probe class(char *string_);
	probe probe(int provider);
};
