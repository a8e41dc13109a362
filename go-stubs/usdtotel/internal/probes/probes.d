/** OpenTelemetry: spans as the SDK of the program makes them. */
provider otel {
	/** A span begins. */
	probe span_start(
		string trace_id,  /* 32 hexadecimal digits */
		string span_id,   /* 16 hexadecimal digits */
		string parent_id, /* 16 hexadecimal digits, zeros where it has no parent */
		string name,
		int32_t kind      /* 1 internal, 2 server, 3 client, 4 producer, 5 consumer */
	);

	/** A span has ended. */
	probe span_end(
		string trace_id, /* 32 hexadecimal digits */
		string span_id,  /* 16 hexadecimal digits */
		string name,     /* as it was at the end */
		int32_t status,  /* 0 unset, 1 error, 2 ok */
		string message,  /* of an error */
		int64_t ns       /* since it began, nanoseconds */
	);

	/** An attribute of a span that is about to end. */
	probe span_attribute(
		string span_id, /* 16 hexadecimal digits */
		string key,
		string value
	);
};

#pragma D attributes Evolving/Evolving/Common provider otel args
