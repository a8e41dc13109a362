/** Spans of the OpenTelemetry SDK in the program. */
provider otel {
	/** A span starts. */
	probe span_start(
		string trace_id,  /* 32 hexadecimal digits */
		string span_id,   /* 16 hexadecimal digits */
		string parent_id, /* 16 hexadecimal digits; zeros for a root span */
		string name,      /* name of the span */
		int32_t kind      /* 1 internal, 2 server, 3 client, 4 producer, 5 consumer */
	);

	/**
	 * A span has ended.
	 * @go ns time.Duration
	 */
	probe span_end(
		string trace_id, /* 32 hexadecimal digits */
		string span_id,  /* 16 hexadecimal digits */
		string name,     /* name of the span when it ended */
		int32_t status,  /* 0 unset, 1 error, 2 ok */
		string message,  /* description of an error status */
		int64_t ns       /* duration of the span, in nanoseconds */
	);

	/** A span that is about to end has this attribute. */
	probe span_attribute(
		string span_id, /* 16 hexadecimal digits */
		string key,     /* key of the attribute */
		string value    /* value of the attribute, as attribute.Value.String returns it */
	);
};

#pragma D attributes Evolving/Evolving/Common provider otel args
