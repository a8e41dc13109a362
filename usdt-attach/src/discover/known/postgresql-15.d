// PostgreSQL up to 15: src/backend/utils/probes.d.

provider postgresql {
	probe buffer__read__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		bool is_extend
	);
	probe buffer__read__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		bool is_extend,
		bool found
	);

	probe smgr__md__read__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		int bytes,
		int requested
	);
	probe smgr__md__write__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		int bytes,
		int requested
	);
};
