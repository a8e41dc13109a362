/** net/http: requests of servers and clients, under the names that the runtime-native probes have. */
provider net_http {
	/** A server hands a request to its handler. */
	probe server_request_start(
		string method,     /* as received */
		string path,       /* of the URL, without the query */
		string host,       /* Host header or :authority */
		uint64_t id,       /* of this request in this process, the same at its end */
		string traceparent /* W3C trace context as received, empty where there is none */
	);

	/** The handler has returned or panicked. */
	probe server_request_end(
		int32_t status, /* status code, 200 where the handler set none */
		uint64_t id,    /* of the request */
		int64_t bytes,  /* of the body that the handler wrote */
		int64_t ns,     /* time in the handler, nanoseconds */
		string route    /* pattern of the ServeMux that took the request, empty where there is none */
	);

	/** A client's transport sends a request. */
	probe client_request_start(
		string method,     /* empty for GET */
		string url,        /* whole, a password left out */
		uint64_t id,       /* of this request in this process */
		string traceparent /* W3C trace context as sent, empty where there is none */
	);

	/** The response's header has arrived, or the request has failed. */
	probe client_response_received(
		int32_t status, /* status code, 0 where it failed */
		uint64_t id,    /* of the request */
		int64_t bytes,  /* length of the body, -1 where it is not known */
		int64_t ns,     /* since the request was sent, nanoseconds */
		error error     /* why it failed */
	);
};

#pragma D attributes Evolving/Evolving/Common provider net_http args
