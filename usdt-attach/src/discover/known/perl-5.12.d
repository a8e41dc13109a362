// Perl up to 5.12: perldtrace.d and mydtrace.h.

provider perl {
	probe sub__entry(const char *sub, const char *file, int line);
	probe sub__return(const char *sub, const char *file, int line);
};
