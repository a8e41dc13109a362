enum e { A = B, C = 1 / 0 };
struct s { int a[N]; };
provider app { probe a(enum e e, struct s *s); };
