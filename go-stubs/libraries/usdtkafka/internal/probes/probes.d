/** Records and requests of Kafka clients. */
provider kafka {
	/**
	 * A client has accepted a record to produce.
	 * @go bytes int
	 */
	probe record_produce(
		string topic, /* topic */
		bytes key,    /* key of the record; empty if it has none */
		int64_t bytes /* size of the record's value, in bytes */
	);

	/**
	 * A broker has stored a record, or producing it has failed.
	 * @go ns time.Duration
	 */
	probe record_produced(
		string topic,      /* topic */
		int32_t partition, /* partition */
		int64_t offset,    /* offset in the partition */
		int64_t ns,        /* time since the client accepted the record, in nanoseconds; 0 if no tracer was attached then */
		error error        /* reason of the failure; empty on success */
	);

	/**
	 * The application has got a record.
	 * @go bytes int
	 * @go age_ns time.Duration
	 */
	probe record_fetched(
		string topic,      /* topic */
		int32_t partition, /* partition */
		int64_t offset,    /* offset in the partition */
		int64_t bytes,     /* size of the record's value, in bytes */
		int64_t age_ns     /* time since the timestamp of the record, in nanoseconds */
	);

	/**
	 * A broker has answered a request, or the request has failed.
	 * @go ns time.Duration
	 */
	probe request_done(
		string broker, /* host name of the broker */
		int32_t node,  /* node ID of the broker; negative for a seed broker */
		int32_t key,   /* key of the request, such as 0 for Produce and 1 for Fetch */
		int64_t ns,    /* time from writing the request to reading the answer, in nanoseconds */
		error error    /* reason of the failure; empty on success */
	);
};

#pragma D attributes Evolving/Evolving/Common provider kafka args
