/** Statements that pgx sends to PostgreSQL. The probes have the names of the runtime-native ones of database/sql. */
provider sql {
	/** pgx is about to prepare a statement. */
	probe prepare(
		string query /* SQL of the statement */
	);

	/**
	 * PostgreSQL has prepared a statement, or failed to.
	 * @go ns time.Duration
	 */
	probe prepare_done(
		string query, /* SQL of the statement */
		int64_t ns,   /* duration, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);

	/** pgx is about to send a statement, with or without rows. */
	probe query(
		string query /* SQL of the statement, or the name of a prepared one */
	);

	/**
	 * The statement has ended: its rows have been read or closed, or it has failed.
	 * @go ns time.Duration
	 */
	probe query_done(
		string query, /* SQL of the statement, or the name of a prepared one */
		int64_t ns,   /* duration, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);

	/**
	 * The result of a statement of a batch has been read, or the statement has failed.
	 * @go ns time.Duration
	 */
	probe batch_query_done(
		string query, /* SQL of the statement, or the name of a prepared one */
		int64_t ns,   /* time since the start of the batch, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider sql args
