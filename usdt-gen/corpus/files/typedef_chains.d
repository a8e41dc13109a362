typedef unsigned long ticks;
typedef ticks when_t;
typedef when_t *when_ptr;
typedef char letter;
typedef letter *word_t;
provider chains { probe a(when_t w, when_ptr p, word_t s, letter *t, letter l, ticks *many); };
