/** Arguments with the Go types that programs have. */
provider app {
	/**
	 * A response has been written.
	 *
	 * @go status int
	 * @param status its code
	 * @go elapsed time.Duration
	 * @go nothing int
	 */
	probe request__end(uint64_t id, int64_t status, int64_t elapsed);
	probe queue(
		uint64_t length, /* How many wait. @ is no annotation. */
		uint64_t limit,  /* @go uint */
		hrtime_t age     /* Of the oldest.
		                  * @go time.Duration */
	);
};
