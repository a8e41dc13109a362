// PostgreSQL up to 9.0, and light-weight locks up to 9.3: src/backend/utils/probes.d.

provider postgresql {
	probe lwlock__acquire(int lock, int mode);
	probe lwlock__release(int lock);
	probe lwlock__wait__start(int lock, int mode);
	probe lwlock__wait__done(int lock, int mode);
	probe lwlock__condacquire(int lock, int mode);
	probe lwlock__condacquire__fail(int lock, int mode);

	probe buffer__read__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		bool is_local,
		bool is_extend
	);
	probe buffer__read__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		bool is_local,
		bool is_extend,
		bool found
	);

	probe smgr__md__read__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation
	);
	probe smgr__md__read__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int bytes,
		int requested
	);
	probe smgr__md__write__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation
	);
	probe smgr__md__write__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int bytes,
		int requested
	);
};
