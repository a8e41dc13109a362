// PostgreSQL 9.4 to 9.6: src/backend/utils/probes.d.

provider postgresql {
	probe lwlock__acquire(const char *tranche, int lock, int mode);
	probe lwlock__release(const char *tranche, int lock);
	probe lwlock__wait__start(const char *tranche, int lock, int mode);
	probe lwlock__wait__done(const char *tranche, int lock, int mode);
	probe lwlock__condacquire(const char *tranche, int lock, int mode);
	probe lwlock__condacquire__fail(const char *tranche, int lock, int mode);
	probe lwlock__acquire__or__wait(const char *tranche, int lock, int mode);
	probe lwlock__acquire__or__wait__fail(const char *tranche, int lock, int mode);

	probe xlog__insert(unsigned char rmgr, unsigned char flags);
	probe xlog__switch();
};
