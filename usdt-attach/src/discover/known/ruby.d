// Ruby: probes.d.

provider ruby {
	probe method__entry(const char *classname, const char *methodname, const char *filename, int lineno);
	probe method__return(const char *classname, const char *methodname, const char *filename, int lineno);
	probe cmethod__entry(const char *classname, const char *methodname, const char *filename, int lineno);
	probe cmethod__return(const char *classname, const char *methodname, const char *filename, int lineno);

	probe require__entry(const char *requiredfile, const char *filename, int lineno);
	probe require__return(const char *requiredfile, const char *filename, int lineno);
	probe find__require__entry(const char *requiredfile, const char *filename, int lineno);
	probe find__require__return(const char *requiredfile, const char *filename, int lineno);
	probe load__entry(const char *loadedfile, const char *filename, int lineno);
	probe load__return(const char *loadedfile, const char *filename, int lineno);

	probe raise(const char *classname, const char *filename, int lineno);
	probe object__create(const char *classname, const char *filename, int lineno);
	probe array__create(long length, const char *filename, int lineno);
	probe hash__create(long length, const char *filename, int lineno);
	probe string__create(long length, const char *filename, int lineno);
	probe symbol__create(const char *symbol, const char *filename, int lineno);

	probe parse__begin(const char *sourcefile, int lineno);
	probe parse__end(const char *sourcefile, int lineno);
	probe insn(const char *insns_name);
	probe insn__operand(const char *value, const char *insns_name);
	probe method__cache__clear(const char *classname, const char *filename, int lineno);

	probe gc__mark__begin();
	probe gc__mark__end();
	probe gc__sweep__begin();
	probe gc__sweep__end();
};
