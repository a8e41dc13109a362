/** log/slog: records, also those below the level of the handler while somebody traces. */
provider slog {
	/** A record is logged. */
	probe record(
		int64_t level,     /* -4 debug, 0 info, 4 warning, 8 error */
		string message,
		string attributes, /* `key=value` separated by spaces, as slog.TextHandler writes them; groups as prefixes */
		string file,       /* of the caller, empty where the record has none */
		int32_t line       /* likewise, 0 where the record has none */
	);
};

#pragma D attributes Evolving/Evolving/Common provider slog args
