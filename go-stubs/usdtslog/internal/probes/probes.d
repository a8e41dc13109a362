/** Records of log/slog. While a tracer is attached, this includes records below the level of the handler. */
provider slog {
	/** The program logs a record. */
	probe record(
		int64_t level,     /* -4 debug, 0 info, 4 warning, 8 error */
		string message,    /* message of the record */
		string attributes, /* `key=value` pairs as slog.TextHandler writes them; groups are prefixes */
		string file,       /* source file of the caller; empty if the record has none */
		int32_t line       /* source line of the caller; 0 if the record has none */
	);
};

#pragma D attributes Evolving/Evolving/Common provider slog args
