/* Provided ``as is'' here. */
provider p {
	/** Fired for a get-command */
	probe title(int x);
	/* This one fires

	* item one
	* item two
	   code here
	*/
	probe items(int x);
	/* Values:
	  1: foo
	  2: bar
	*/
	probe numbers(int x /* How it went:
	 * - 0 well
	 * - 1 badly
	 */);
	/* - a
	   - b
	 # heading
	 [link]: http://x
	*/
	probe links(int x);
	/*
	 * First.
	 *
	 * #  A heading
	 *
	 * [link]: http://example.com/''x''
	 *
	 * The end
	 */
	probe blocks();
};

/** The states of a job */
enum state {
	/** Nobody has it */
	WAITING,
	DONE, /* ``over'' */
};

/** A job

# Members */
struct job {
	int id; /* ``the'' id */
	int urgent : 1; /* Set by users */
};
provider jobs { probe added(struct job *j, enum state s); };
