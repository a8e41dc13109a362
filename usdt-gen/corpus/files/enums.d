/** Outcome of a job. */
enum outcome { OUTCOME_OK, OUTCOME_FAILED = 10, /* from outside */ OUTCOME_KILLED, OUTCOME_MASK = 0x80 | 1 };
typedef enum { RED = -1, GREEN, BLUE } color_t;
typedef enum size { SMALL = 'a', LARGE = 1 << 20 } size_class;
enum big { HUGE = 0xffffffff };
provider enums {
	probe done(enum outcome how, color_t color, size_class size, enum big big, enum not_here other);
};
