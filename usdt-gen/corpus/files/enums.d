/** How it ended. */
enum outcome { OUTCOME_OK, OUTCOME_FAILED = 10, /* by itself */ OUTCOME_KILLED, OUTCOME_MASK = 0x80 | 1 };
typedef enum { RED = -1, GREEN, BLUE } colour_t;
typedef enum size { SMALL = 'a', LARGE = 1 << 20 } size_class;
enum big { HUGE = 0xffffffff };
provider enums {
	probe done(enum outcome how, colour_t colour, size_class size, enum big big, enum not_here other);
};
