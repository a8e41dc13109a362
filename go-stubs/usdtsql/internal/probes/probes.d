/** Statements and transactions of database/sql, as the driver receives them. The probes have the names of the runtime-native ones. */
provider sql {
	/** The driver is about to prepare a statement. */
	probe prepare(
		string query /* SQL of the statement */
	);
	/**
	 * The driver has prepared a statement, or failed to.
	 * @go ns time.Duration
	 */
	probe prepare_done(
		string query, /* SQL of the statement */
		int64_t ns,   /* duration, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);
	/** The driver is about to execute a statement that returns no rows. */
	probe exec(
		string query /* SQL of the statement */
	);
	/**
	 * The driver has executed a statement that returns no rows, or failed to.
	 * @go ns time.Duration
	 */
	probe exec_done(
		string query, /* SQL of the statement */
		int64_t ns,   /* duration, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);
	/** The driver is about to run a query. */
	probe query(
		string query /* SQL of the statement */
	);
	/**
	 * The driver has run a query and its first rows can be read, or the query has failed.
	 * @go ns time.Duration
	 */
	probe query_done(
		string query, /* SQL of the statement */
		int64_t ns,   /* duration, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);
	/** The driver is about to execute a prepared statement that returns no rows. */
	probe stmt_exec(
		string query /* SQL of the statement */
	);
	/**
	 * The driver has executed a prepared statement that returns no rows, or failed to.
	 * @go ns time.Duration
	 */
	probe stmt_exec_done(
		string query, /* SQL of the statement */
		int64_t ns,   /* duration, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);
	/** The driver is about to run a prepared query. */
	probe stmt_query(
		string query /* SQL of the statement */
	);
	/**
	 * The driver has run a prepared query and its first rows can be read, or the query has failed.
	 * @go ns time.Duration
	 */
	probe stmt_query_done(
		string query, /* SQL of the statement */
		int64_t ns,   /* duration, in nanoseconds */
		error error   /* reason of the failure; empty on success */
	);
	/** The driver is about to begin a transaction. */
	probe tx_begin();
	/**
	 * The driver has committed a transaction, or failed to.
	 * @go ns time.Duration
	 */
	probe tx_commit(
		int64_t ns, /* duration of the commit, in nanoseconds */
		error error /* reason of the failure; empty on success */
	);
	/**
	 * The driver has rolled back a transaction, or failed to.
	 * @go ns time.Duration
	 */
	probe tx_rollback(
		int64_t ns, /* duration of the rollback, in nanoseconds */
		error error /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider sql args
