/** database/sql: statements, as the driver gets them, under the names that the runtime-native probes have. */
provider sql {
	/** A statement is prepared. */
	probe prepare(
		string query /* text of the statement */
	);
	/** A statement has been prepared. */
	probe prepare_done(
		string query, /* text of the statement */
		int64_t ns,   /* time it took, nanoseconds */
		error error   /* why it failed */
	);
	/** A statement without rows is executed. */
	probe exec(
		string query /* text of the statement */
	);
	/** A statement without rows has been executed. */
	probe exec_done(
		string query, /* text of the statement */
		int64_t ns,   /* time it took, nanoseconds */
		error error   /* why it failed */
	);
	/** A query is executed. */
	probe query(
		string query /* text of the statement */
	);
	/** A query has been executed: its first rows can be read. */
	probe query_done(
		string query, /* text of the statement */
		int64_t ns,   /* time it took, nanoseconds */
		error error   /* why it failed */
	);
	/** A prepared statement without rows is executed. */
	probe stmt_exec(
		string query /* text of the statement */
	);
	/** A prepared statement without rows has been executed. */
	probe stmt_exec_done(
		string query, /* text of the statement */
		int64_t ns,   /* time it took, nanoseconds */
		error error   /* why it failed */
	);
	/** A prepared query is executed. */
	probe stmt_query(
		string query /* text of the statement */
	);
	/** A prepared query has been executed: its first rows can be read. */
	probe stmt_query_done(
		string query, /* text of the statement */
		int64_t ns,   /* time it took, nanoseconds */
		error error   /* why it failed */
	);
	/** A transaction begins. */
	probe tx_begin();
	/** A transaction has been committed. */
	probe tx_commit(
		int64_t ns, /* time that took, nanoseconds */
		error error /* why it failed */
	);
	/** A transaction has been rolled back. */
	probe tx_rollback(
		int64_t ns, /* time that took, nanoseconds */
		error error /* why it failed */
	);
};

#pragma D attributes Evolving/Evolving/Common provider sql args
