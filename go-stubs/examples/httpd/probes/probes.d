/*
 * The probes of the example service.
 *
 * Durations are in nanoseconds and sizes in bytes. `id` is the number of the request in the process, from 1.
 */

/** An HTTP service that stores items: its requests, cache, errors and background work. */
provider httpd {
	/** The service starts to handle a request. */
	probe request__start(uint64_t id, string method, string path);

	/**
	 * The service has written the response.
	 * @go duration_ns time.Duration
	 */
	probe request__end(uint64_t id, string path, int status, uint64_t bytes, int64_t duration_ns);

	/**
	 * The cache contains the item.
	 * @go age_ns time.Duration
	 */
	probe cache__hit(string key, int64_t age_ns);

	/** The cache does not contain the item, or the entry has expired. */
	probe cache__miss(string key);

	/** An operation on an item has failed. */
	probe request__error(uint64_t id, string operation, error err);

	/** The background job that evicts expired cache entries starts. */
	probe evict__start(size_t entries);

	/**
	 * The background job has finished.
	 * @go duration_ns time.Duration
	 */
	probe evict__end(size_t evicted, double load, int64_t duration_ns);
};

#pragma D attributes Evolving/Evolving/Common provider httpd args
