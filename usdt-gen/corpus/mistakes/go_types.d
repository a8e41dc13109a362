provider app {
	/** @go status int */
	probe narrow(int status);
	/** @go n time.Duration */
	probe unsigned__duration(uint64_t n);
	/** @go n time.Time */
	probe unknown(int64_t n);
	probe pointer(char *s /* @go int */);
};
