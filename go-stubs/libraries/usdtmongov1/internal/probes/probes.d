/** Commands that MongoDB clients send. */
provider mongo {
	/** A client is about to send a command. */
	probe command_start(
		string command,    /* name, such as find */
		string database,   /* database */
		string collection, /* collection; empty if the command has none */
		int64_t id         /* request ID; command_done has the same */
	);

	/**
	 * The reply has arrived, or the command has failed.
	 * @go ns time.Duration
	 */
	probe command_done(
		string command,  /* name */
		string database, /* database */
		int64_t id,      /* request ID */
		int64_t ns,      /* duration, in nanoseconds */
		error error      /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider mongo args
