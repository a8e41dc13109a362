// Attaches through libbpf's bpf_program__attach_usdt and prints the arguments of the first hits, of one where nothing
// else is said:
// usdt OBJECT BINARY PROVIDER NAME [HITS]
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>

struct record {
	long count;
	long args[12];
};

static int print(void *seen, void *data, size_t size)
{
	struct record *record = data;
	(void)size;
	for (long i = 0; i < record->count && i < 12; i++)
		printf("%s%lx", i ? " " : "", record->args[i]);
	printf("\n");
	++*(int *)seen;
	return 0;
}

int main(int argc, char **argv)
{
	int seen = 0;
	if (argc != 5 && argc != 6)
		return 2;
	int wanted = argc == 6 ? atoi(argv[5]) : 1;
	struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
	if (!object || bpf_object__load(object))
		return 1;
	struct bpf_program *program = bpf_object__find_program_by_name(object, "probe");
	struct bpf_link *link = bpf_program__attach_usdt(program, -1, argv[2], argv[3], argv[4], NULL);
	if (!link)
		return 1;
	struct ring_buffer *ring =
		ring_buffer__new(bpf_object__find_map_fd_by_name(object, "records"), print, &seen, NULL);
	if (!ring)
		return 1;
	// Half a minute without a hit is more than any program under test takes to fire.
	for (int idle = 0; idle < 300 && seen < wanted;)
		idle = ring_buffer__poll(ring, 100) > 0 ? 0 : idle + 1;
	bpf_link__destroy(link);
	bpf_object__close(object);
	return seen < wanted;
}
