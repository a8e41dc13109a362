/** Commands that go-redis clients send. */
provider redis {
	/** A client is about to send a command. */
	probe command_start(
		string command, /* name, such as get */
		string key,     /* first argument if it is a string: the key of most commands */
		uint64_t id     /* command ID, unique in the process; command_done has the same */
	);

	/**
	 * The reply has arrived, or the command has failed.
	 * @go ns time.Duration
	 */
	probe command_done(
		string command, /* name */
		string key,     /* first argument if it is a string */
		uint64_t id,    /* command ID */
		int64_t ns,     /* time since the start of the command, in nanoseconds */
		error error     /* reason of the failure; "redis: nil" if the key does not exist */
	);

	/**
	 * A client is about to send the commands of a pipeline or a transaction.
	 * @go commands int
	 */
	probe pipeline_start(
		int64_t commands, /* number of commands */
		uint64_t id       /* command ID, unique in the process; pipeline_done has the same */
	);

	/**
	 * The replies to a pipeline have arrived, or it has failed.
	 * @go commands int
	 * @go ns time.Duration
	 */
	probe pipeline_done(
		int64_t commands, /* number of commands */
		uint64_t id,      /* command ID */
		int64_t ns,       /* time since the start of the pipeline, in nanoseconds */
		error error       /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider redis args
