/* Types as Go spells them. */
typedef time.Duration timeout_t;

struct job {
	int64 id;
	float64 weight;
	time.Duration age;
	byte tag[4];
	unsafe.Pointer next;
};

provider app {
	probe request__start(uint64 id, string method, []byte body);
	probe request__end(int64 status, time.Duration elapsed, bool ok, error err);
	probe numbers(int8 a, int16 b, int32 c, uint8 d, uint16 e, uint32 f, float32 g, float64 h, uintptr i, byte j,
	    rune k);
	probe pointers(unsafe.Pointer p, int64 *q, struct job *j, const []uint8 b);
	/** @go status int */
	probe annotated(int64 status, /* @go time.Duration */ time.Duration waited, timeout_t timeout);
	/* `int` and `uint` are those of C. */
	probe words(int a, uint b);
};
