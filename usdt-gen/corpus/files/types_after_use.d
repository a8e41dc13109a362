provider early { probe a(late_t l, struct late_s *s); };
typedef int late_t;
struct late_s { late_t a; };
