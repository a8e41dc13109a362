/* Names of system headers that the file declares as other types. */
typedef short pid_t;
typedef struct { int a; } id_t;
typedef char caddr_t;
typedef double time_t;

struct s { pid_t pids[2]; time_t at; off_t size; };

provider app { probe own(pid_t p, id_t *q, const caddr_t *r, time_t t, off_t o, struct s *s); };
