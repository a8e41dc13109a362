/** A connection. */
struct conn {
	int fd;                 /* descriptor */
	struct { char host[64]; uint16_t port; } peer;
	struct server *server;  // server that accepted it
	struct conn *next;
	void (*on_close)(struct conn *);
	uint64_t counters[2][3];
	_Bool open;
	double since;
};
struct server { struct conn *first; unsigned connections; };
struct opaque;
typedef struct conn conn_t;
provider structs {
	probe accepted(struct conn *c, conn_t *same, const struct conn *too, struct opaque *o, conn_t **many);
};
