/** A flight recorder of Go's execution tracer, armed by whoever attaches to a probe. */
provider flight {
	/** The recorder has started: from here on it keeps what happens. It runs while this or another probe of the provider is attached. */
	probe armed(
		int64_t min_age_ns, /* what it keeps at least, nanoseconds */
		uint64_t max_bytes  /* what it takes for that at most, 0 for the runtime's own limit */
	);

	/** Attaching to this one asks for a snapshot, once; it never fires. */
	probe request();

	/** A snapshot has been written, or could not be. */
	probe snapshot(
		string path,    /* of the file, empty where there is none */
		string reason,  /* what the program said, `requested` where a tracer asked */
		uint64_t bytes, /* of the file */
		int64_t ns,     /* time that writing took, nanoseconds */
		error error     /* why there is none */
	);
};

#pragma D attributes Evolving/Evolving/Common provider flight args
