// Attaches to a probe through bpf_program__attach_usdt of libbpf, and prints the arguments of the
// first HITS hits, by default of one. Exits with 1 if there are fewer hits.
//
//     usdt OBJECT BINARY PROVIDER NAME [HITS]
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>

struct record {
	long count;
	long args[12];
};

static int print_record(void *count, void *data, size_t size)
{
	struct record *record = data;
	(void)size;
	for (long i = 0; i < record->count && i < 12; i++)
		printf("%s%lx", i ? " " : "", record->args[i]);
	printf("\n");
	++*(int *)count;
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
		ring_buffer__new(bpf_object__find_map_fd_by_name(object, "records"), print_record, &seen, NULL);
	if (!ring)
		return 1;
	// Gives up after 30 seconds without a hit, which is longer than any program under test takes to
	// fire.
	for (int idle = 0; idle < 300 && seen < wanted;)
		idle = ring_buffer__poll(ring, 100) > 0 ? 0 : idle + 1;
	bpf_link__destroy(link);
	bpf_object__close(object);
	return seen < wanted;
}
