/** Arguments with Go types. */
provider app {
	/**
	 * A response has been written.
	 *
	 * @go status int
	 * @param status the status code
	 * @go elapsed time.Duration
	 * @go nothing int
	 */
	probe request__end(uint64_t id, int64_t status, int64_t elapsed);
	probe queue(
		uint64_t length, /* Number of waiting jobs. A lone @ is not an annotation. */
		uint64_t limit,  /* @go uint */
		hrtime_t age     /* Age of the oldest job.
		                  * @go time.Duration */
	);
};
