/** Tasks, regions and messages of runtime/trace: of the program's own making. */
provider trace {
	/** A task begins. */
	probe task_begin(
		uint64_t id,     /* of this task in this process, the same at its end */
		uint64_t parent, /* of the task that it is part of, 0 where there is none or it began unseen */
		string type
	);

	/** A task has ended. */
	probe task_end(
		uint64_t id, /* of the task, 0 where it began unseen */
		string type, /* empty where it began unseen */
		int64_t ns   /* since it began, nanoseconds; 0 where it began unseen */
	);

	/** A region of a goroutine begins. */
	probe region_begin(
		uint64_t task, /* that it is part of, 0 where there is none or it began unseen */
		string type
	);

	/** A region of a goroutine has ended. */
	probe region_end(
		uint64_t task, /* that it is part of, 0 where there is none or it began unseen */
		string type,   /* empty where it began unseen */
		int64_t ns     /* since it began, nanoseconds; 0 where it began unseen */
	);

	/** A message. */
	probe log(
		uint64_t task, /* that it is part of, 0 where there is none or it began unseen */
		string category,
		string message
	);
};

#pragma D attributes Evolving/Evolving/Common provider trace args
