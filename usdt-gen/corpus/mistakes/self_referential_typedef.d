typedef a b;
typedef b a;
provider app { probe x(a v, b *w); };
