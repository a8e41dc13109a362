provider interp {
	probe call(const char *method);
#if defined(WITH_GC) && WITH_GC > 1
	probe gc__mark__begin();
#elif defined(__linux__)
	probe gc__begin(int generation);
#else
	probe gc__other();
#endif
#ifndef NO_RAISE
	probe raise(const char *class_name, int line);
#endif
};
