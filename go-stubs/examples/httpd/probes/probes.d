/*
 * The probes of the example service.
 *
 * Durations are nanoseconds, sizes bytes. `id` numbers the requests of a process from 1.
 */

/** An HTTP service that keeps items: its requests, its cache, its failures and its background work. */
provider httpd {
	/** A request has been read. */
	probe request__start(uint64_t id, string method, string path);

	/** The answer has been written. */
	probe request__end(uint64_t id, string path, int status, uint64_t bytes, int64_t duration_ns);

	/** An item was found in the cache. */
	probe cache__hit(string key, int64_t age_ns);

	/** An item was not in the cache, or too old. */
	probe cache__miss(string key);

	/** A request failed for a reason of the service's own. */
	probe request__error(uint64_t id, string operation, error err);

	/** The background job that evicts old cache entries begins. */
	probe evict__start(size_t entries);

	/** The background job is done. */
	probe evict__end(size_t evicted, double load, int64_t duration_ns);
};

#pragma D attributes Evolving/Evolving/Common provider httpd args
