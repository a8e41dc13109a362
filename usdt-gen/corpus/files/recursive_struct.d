struct a { struct b *b; };
struct b { struct a a; struct c *c; };
struct c { struct a *a; struct b b[2]; };
provider r { probe x(struct a *a); };
