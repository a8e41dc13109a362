/** Operations with a beginning and an end, for tests that measure times. */
provider ops {
	/** An operation begins. */
	probe begin(uint64_t id, string kind);

	/** It ends. */
	probe end(uint64_t id, int status);
};
