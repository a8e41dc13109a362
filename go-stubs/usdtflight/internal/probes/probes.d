/** The flight recorder of Go's execution tracer. It runs while a tracer is attached to a probe of this provider. */
provider flight {
	/**
	 * The recorder has started.
	 * @go min_age_ns time.Duration
	 */
	probe armed(
		int64_t min_age_ns, /* minimum age of events that the recorder keeps, in nanoseconds; 0 for the runtime's default */
		uint64_t max_bytes  /* maximum size of the recorder's buffer, in bytes; 0 for the runtime's default */
	);

	/** Attaching to this probe requests one snapshot; the probe itself never fires. */
	probe request();

	/**
	 * A snapshot has been written, or writing it has failed.
	 * @go ns time.Duration
	 */
	probe snapshot(
		string path,    /* file of the snapshot; empty on failure */
		string reason,  /* reason that the program gave; `requested` if a tracer requested the snapshot */
		uint64_t bytes, /* size of the file, in bytes */
		int64_t ns,     /* time that writing took, in nanoseconds */
		error error     /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider flight args
