struct a { int x; };
struct a { int y; };
provider app { probe a(struct a *a); };
