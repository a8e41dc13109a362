/** Tasks, regions and log messages that the program creates with package usdttrace. */
provider trace {
	/** A task starts. */
	probe task_begin(
		uint64_t id,     /* task ID, unique in the process; task_end has the same */
		uint64_t parent, /* ID of the parent task; 0 if there is none, or no tracer was attached when it started */
		string type      /* type of the task */
	);

	/**
	 * A task has ended.
	 * @go ns time.Duration
	 */
	probe task_end(
		uint64_t id, /* task ID; 0 if no tracer was attached when the task started */
		string type, /* type of the task; empty if no tracer was attached when the task started */
		int64_t ns   /* duration, in nanoseconds; 0 if no tracer was attached when the task started */
	);

	/** A region of a goroutine starts. */
	probe region_begin(
		uint64_t task, /* ID of the region's task; 0 if there is none, or no tracer was attached when it started */
		string type    /* type of the region */
	);

	/**
	 * A region of a goroutine has ended.
	 * @go ns time.Duration
	 */
	probe region_end(
		uint64_t task, /* ID of the region's task; 0 if there is none, or no tracer was attached when it started */
		string type,   /* type of the region; empty if no tracer was attached when the region started */
		int64_t ns     /* duration, in nanoseconds; 0 if no tracer was attached when the region started */
	);

	/** The program logs a message. */
	probe log(
		uint64_t task,   /* ID of the current task; 0 if there is none, or no tracer was attached when it started */
		string category, /* category of the message */
		string message   /* message */
	);
};

#pragma D attributes Evolving/Evolving/Common provider trace args
