/** Messages of NATS clients. */
provider nats {
	/**
	 * A client is about to publish a message.
	 * @go bytes int
	 */
	probe publish(
		string subject, /* subject */
		string reply,   /* subject for the reply; empty if there is none */
		int64_t bytes   /* size of the data, in bytes */
	);

	/** A client is about to send a request. */
	probe request_start(
		string subject, /* subject */
		uint64_t id     /* request ID, unique in the process; request_done has the same */
	);

	/**
	 * The reply has arrived, or the request has failed.
	 * @go ns time.Duration
	 */
	probe request_done(
		string subject, /* subject */
		uint64_t id,    /* request ID */
		int64_t ns,     /* duration, in nanoseconds */
		error error     /* reason of the failure; empty on success */
	);

	/**
	 * A handler is about to be called with a message.
	 * @go bytes int
	 */
	probe message_start(
		string subject, /* subject */
		uint64_t id,    /* message ID, unique in the process; message_done has the same */
		int64_t bytes   /* size of the data, in bytes */
	);

	/**
	 * The handler of a message has returned or panicked.
	 * @go ns time.Duration
	 */
	probe message_done(
		string subject, /* subject */
		uint64_t id,    /* message ID */
		int64_t ns      /* time in the handler, in nanoseconds */
	);
};

#pragma D attributes Evolving/Evolving/Common provider nats args
