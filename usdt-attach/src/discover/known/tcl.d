// Tcl: generic/tclDTrace.d.

#define WORDS \
	const char *word1, const char *word2, const char *word3, const char *word4, const char *word5, \
	const char *word6, const char *word7, const char *word8, const char *word9
#define CALL(name) \
	probe name##__entry(const char *name, int objc, void *objv); \
	probe name##__return(const char *name, int code); \
	probe name##__result(const char *name, int code, const char *result, void *result_object); \
	probe name##__args(const char *name, WORDS); \
	probe name##__info(const char *command, const char *type, const char *proc_name, const char *file, int line, int level, const char *method, const char *class)

provider tcl {
	CALL(proc);
	CALL(cmd);
	probe inst__start(const char *name, int depth, void *stack);
	probe inst__done(const char *name, int depth, void *stack);
	probe obj__create(void *object);
	probe obj__free(void *object);
	probe tcl__probe(const char *word0, WORDS);
};
