/** Operations with a start and an end, for tests of latencies. */
provider ops {
	/** An operation starts. */
	probe begin(uint64_t id, string kind);

	/** An operation has ended. */
	probe end(uint64_t id, int status);
};
