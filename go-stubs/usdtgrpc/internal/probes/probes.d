/** Calls of gRPC servers and clients. */
provider grpc {
	/** A server calls the handler of a call. */
	probe server_call_start(
		string method, /* full method name, such as /package.Service/Method */
		string peer,   /* address of the client */
		uint64_t id,   /* call ID, unique in the process; server_call_end has the same */
		bool stream    /* true if the client, the server or both send streams */
	);

	/**
	 * The handler has returned or panicked.
	 * @go ns time.Duration
	 */
	probe server_call_end(
		string method,   /* full method name */
		int32_t code,    /* status code: 0 is OK, 2 is Unknown, also if the handler panicked */
		uint64_t id,     /* call ID */
		int64_t ns,      /* time in the handler, in nanoseconds */
		error error,     /* error that the handler returned; empty on success */
		string code_name /* name of the status code, such as OK or NotFound */
	);

	/** A client starts a call. */
	probe client_call_start(
		string method, /* full method name */
		string target, /* target of the connection */
		uint64_t id,   /* call ID, unique in the process; client_call_end has the same */
		bool stream    /* true if the client, the server or both send streams */
	);

	/**
	 * The response of a call has arrived, its stream has ended, or the call has failed.
	 * @go ns time.Duration
	 */
	probe client_call_end(
		string method,   /* full method name */
		int32_t code,    /* status code: 0 is OK */
		uint64_t id,     /* call ID */
		int64_t ns,      /* time since the start of the call, in nanoseconds */
		error error,     /* reason of the failure; empty on success */
		string code_name /* name of the status code, such as OK or NotFound */
	);
};

#pragma D attributes Evolving/Evolving/Common provider grpc args
