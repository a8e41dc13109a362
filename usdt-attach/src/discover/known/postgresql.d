// PostgreSQL: src/backend/utils/probes.d and the table of probes in doc/src/sgml/monitoring.sgml.

provider postgresql {
	probe transaction__start(unsigned int local_xid);
	probe transaction__commit(unsigned int local_xid);
	probe transaction__abort(unsigned int local_xid);

	probe lwlock__acquire(const char *tranche, int mode);
	probe lwlock__release(const char *tranche);
	probe lwlock__wait__start(const char *tranche, int mode);
	probe lwlock__wait__done(const char *tranche, int mode);
	probe lwlock__condacquire(const char *tranche, int mode);
	probe lwlock__condacquire__fail(const char *tranche, int mode);
	probe lwlock__acquire__or__wait(const char *tranche, int mode);
	probe lwlock__acquire__or__wait__fail(const char *tranche, int mode);

	probe lock__wait__start(
		unsigned int tag_field1,
		unsigned int tag_field2,
		unsigned int tag_field3,
		unsigned short tag_field4,
		unsigned char tag_type,
		int mode
	);
	probe lock__wait__done(
		unsigned int tag_field1,
		unsigned int tag_field2,
		unsigned int tag_field3,
		unsigned short tag_field4,
		unsigned char tag_type,
		int mode
	);

	probe query__parse__start(const char *query);
	probe query__parse__done(const char *query);
	probe query__rewrite__start(const char *query);
	probe query__rewrite__done(const char *query);
	probe query__plan__start();
	probe query__plan__done();
	probe query__execute__start();
	probe query__execute__done();
	probe query__start(const char *query);
	probe query__done(const char *query);
	probe statement__status(const char *status);

	probe sort__start(int sort_type, bool unique, int columns, int memory_kib, int random_access, int parallel);
	probe sort__done(int external, long blocks);

	probe buffer__read__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend
	);
	probe buffer__read__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		bool found
	);
	probe buffer__flush__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation
	);
	probe buffer__flush__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation
	);
	probe buffer__extend__start(
		int fork,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		unsigned int blocks
	);
	probe buffer__extend__done(
		int fork,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		unsigned int blocks,
		unsigned int first_block
	);
	probe buffer__write__dirty__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation
	);
	probe buffer__write__dirty__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation
	);

	probe buffer__checkpoint__start(int flags);
	probe buffer__checkpoint__sync__start();
	probe buffer__checkpoint__done();
	probe buffer__sync__start(int buffers, int dirty);
	probe buffer__sync__written(int buffer);
	probe buffer__sync__done(int buffers, int written, int expected);

	probe deadlock__found();

	probe checkpoint__start(int flags);
	probe checkpoint__done(int written, int buffers, int wal_added, int wal_removed, int wal_recycled);
	probe clog__checkpoint__start(bool is_normal);
	probe clog__checkpoint__done(bool is_normal);
	probe subtrans__checkpoint__start(bool is_normal);
	probe subtrans__checkpoint__done(bool is_normal);
	probe multixact__checkpoint__start(bool is_normal);
	probe multixact__checkpoint__done(bool is_normal);
	probe twophase__checkpoint__start();
	probe twophase__checkpoint__done();

	probe smgr__md__read__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend
	);
	probe smgr__md__read__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		long bytes,
		long requested
	);
	probe smgr__md__write__start(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend
	);
	probe smgr__md__write__done(
		int fork,
		unsigned int block,
		unsigned int tablespace,
		unsigned int database,
		unsigned int relation,
		int backend,
		long bytes,
		long requested
	);

	probe wal__insert(unsigned char rmgr, unsigned char flags);
	probe wal__switch();
	probe wal__buffer__write__dirty__start();
	probe wal__buffer__write__dirty__done();

	probe nbtree__page__split(unsigned int block);
	probe nbtree__page__truncate(int attributes);
};
