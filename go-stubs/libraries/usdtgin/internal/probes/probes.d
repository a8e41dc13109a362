/** HTTP requests that Gin handles. The probes have the names of the runtime-native ones of net/http. */
provider net_http {
	/** The handlers of a request are about to be called. */
	probe server_request_start(
		string method,     /* method as received */
		string path,       /* URL path, without the query */
		string host,       /* Host header or :authority */
		uint64_t id,       /* request ID, unique in the process; server_request_end has the same */
		string traceparent /* W3C trace context as received; empty if there is none */
	);

	/**
	 * The handlers have returned or panicked.
	 * @go ns time.Duration
	 */
	probe server_request_end(
		int32_t status, /* status code */
		uint64_t id,    /* request ID */
		int64_t bytes,  /* size of the body that the handlers wrote, in bytes */
		int64_t ns,     /* time in the handlers, in nanoseconds */
		string route    /* route that matched the request; empty if there is none */
	);
};

#pragma D attributes Evolving/Evolving/Common provider net_http args
