typedef void (*handler_t)(int, void *);
typedef int compare(const void *, const void *);
provider callbacks {
	probe set(int (*callback)(int, char *), handler_t handler, compare *cmp, compare direct);
	probe table(void (*(*lookup)(int))(void), int (*)(void));
};
