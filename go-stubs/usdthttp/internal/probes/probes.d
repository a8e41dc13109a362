/** HTTP requests of net/http servers and clients. The probes have the names of the runtime-native ones. */
provider net_http {
	/** A server calls the handler of a request. */
	probe server_request_start(
		string method,     /* method as received */
		string path,       /* URL path, without the query */
		string host,       /* Host header or :authority */
		uint64_t id,       /* request ID, unique in the process; server_request_end has the same */
		string traceparent /* W3C trace context as received; empty if there is none */
	);

	/**
	 * The handler has returned or panicked.
	 * @go ns time.Duration
	 */
	probe server_request_end(
		int32_t status, /* status code; 200 if the handler set none */
		uint64_t id,    /* request ID */
		int64_t bytes,  /* size of the body that the handler wrote, in bytes */
		int64_t ns,     /* time in the handler, in nanoseconds */
		string route    /* ServeMux pattern that matched the request; empty if there is none */
	);

	/** The transport of a client sends a request. */
	probe client_request_start(
		string method,     /* method; empty for GET */
		string url,        /* URL without its password */
		uint64_t id,       /* request ID, unique in the process; client_response_received has the same */
		string traceparent /* W3C trace context as sent; empty if there is none */
	);

	/**
	 * The response header has arrived, or the request has failed.
	 * @go ns time.Duration
	 */
	probe client_response_received(
		int32_t status, /* status code; 0 if the request failed */
		uint64_t id,    /* request ID */
		int64_t bytes,  /* content length of the response, in bytes; -1 if unknown */
		int64_t ns,     /* time since the request was sent, in nanoseconds */
		error error     /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider net_http args
