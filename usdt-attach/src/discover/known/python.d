// CPython: Include/pydtrace.d, and the names in Doc/howto/instrumentation.rst.

provider python {
	probe function__entry(const char *filename, const char *funcname, int lineno);
	probe function__return(const char *filename, const char *funcname, int lineno);
	probe line(const char *filename, const char *funcname, int lineno);
	probe gc__start(int generation);
	probe gc__done(long collected);
	probe import__find__load__start(const char *modulename);
	probe import__find__load__done(const char *modulename, int found);
	probe audit(const char *event, void *arguments);
};
