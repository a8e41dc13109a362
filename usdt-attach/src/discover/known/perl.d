// Perl: perldtrace.d and mydtrace.h.

provider perl {
	probe sub__entry(const char *sub, const char *file, int line, const char *package);
	probe sub__return(const char *sub, const char *file, int line, const char *package);
	probe phase__change(const char *new_phase, const char *old_phase);
	probe op__entry(const char *op);
	probe loading__file(const char *file);
	probe loaded__file(const char *file);
};
