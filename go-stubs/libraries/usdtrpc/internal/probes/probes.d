/** Calls of net/rpc servers and clients. */
provider rpc {
	/** A server has read the header of a request. */
	probe server_call_start(
		string method, /* service and method, such as Arith.Multiply */
		uint64_t id    /* sequence number that the client chose; server_call_end has the same */
	);

	/**
	 * A server writes the response.
	 * @go ns time.Duration
	 */
	probe server_call_end(
		string method, /* service and method */
		uint64_t id,   /* sequence number */
		int64_t ns,    /* time since the header of the request, in nanoseconds; 0 if no tracer was attached then */
		string error   /* error that the method returned; empty on success */
	);

	/** A client sends a request. */
	probe client_call_start(
		string method, /* service and method */
		uint64_t id    /* sequence number, unique in the connection; client_call_end has the same */
	);

	/**
	 * A client has read the header of the response.
	 * @go ns time.Duration
	 */
	probe client_call_end(
		string method, /* service and method */
		uint64_t id,   /* sequence number */
		int64_t ns,    /* time since the request, in nanoseconds; 0 if no tracer was attached then */
		string error   /* error that the method returned; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider rpc args
