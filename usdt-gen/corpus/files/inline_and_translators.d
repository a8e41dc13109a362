inline int STATE_IDLE = 0;
#pragma D binding "1.6.1" STATE_IDLE
struct raw { int state; };
typedef struct info { int state; string name; } info_t;
#pragma D binding "1.6.1" translator
translator info_t < struct raw *R > {
	state = R->state == STATE_IDLE ? 0 : 1;
	name = stringof("raw{");
};
provider states { probe changed(struct raw *r) : (info_t *r); };
