#define PAIR(name) probe name##__start(uint64_t id); probe name##__end(uint64_t id, int status)
#define ARGS(...) (int common, __VA_ARGS__)
provider calls {
	PAIR(request);
	PAIR(query);
	probe other ARGS(int a, char *b);
};
