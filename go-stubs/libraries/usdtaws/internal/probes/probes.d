/** Calls of AWS services. */
provider aws {
	/** A client starts a call. */
	probe call_start(
		string service,   /* service ID, such as S3 */
		string operation, /* operation, such as GetObject */
		string region,    /* region; empty if it is not known yet */
		uint64_t id       /* call ID, unique in the process; call_done has the same */
	);

	/**
	 * The call has ended, after all retries.
	 * @go ns time.Duration
	 */
	probe call_done(
		string service,   /* service ID */
		string operation, /* operation */
		uint64_t id,      /* call ID */
		int64_t ns,       /* duration with retries, in nanoseconds */
		error error       /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider aws args
