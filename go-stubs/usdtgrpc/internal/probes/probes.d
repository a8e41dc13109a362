/** gRPC: calls of servers and clients. */
provider grpc {
	/** A server hands a call to its handler. */
	probe server_call_start(
		string method, /* whole name, such as /package.Service/Method */
		string peer,   /* address of the client */
		uint64_t id,   /* of this call in this process, the same at its end */
		bool stream    /* whether one side or both send streams */
	);

	/** The handler has returned or panicked. */
	probe server_call_end(
		string method, /* whole name */
		int32_t code,  /* status code, 0 OK; 2 UNKNOWN where the handler panicked */
		uint64_t id,   /* of the call */
		int64_t ns,    /* time in the handler, nanoseconds */
		error error    /* what it returned */
	);

	/** A client begins a call. */
	probe client_call_start(
		string method, /* whole name */
		string target, /* of the connection */
		uint64_t id,   /* of this call in this process, the same at its end */
		bool stream    /* whether one side or both send streams */
	);

	/** The answer of a call has arrived, or its stream has ended. */
	probe client_call_end(
		string method, /* whole name */
		int32_t code,  /* status code, 0 OK */
		uint64_t id,   /* of the call */
		int64_t ns,    /* since the call began, nanoseconds */
		error error    /* why it failed */
	);
};

#pragma D attributes Evolving/Evolving/Common provider grpc args
