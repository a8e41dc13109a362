// Attaches an empty BPF program to a probe until standard input is closed. Its overhead is the
// minimum of any tracer.
//
//     limit BINARY OFFSET SEMAPHORE-OFFSET
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

// BPF_TRACE_UPROBE_MULTI and its part of union bpf_attr. They are from Linux 6.6; installed headers
// may be older.
enum { UPROBE_MULTI = 48 };
struct link {
	unsigned program, target, type, flags;
	const char *path;
	const unsigned long *offsets, *semaphores, *cookies;
	unsigned count, link_flags, pid, rest;
};

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	// r0 = 0; exit
	struct bpf_insn code[] = { { .code = 0xb7 }, { .code = 0x95 } };
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_KPROBE, .insn_cnt = 2, .insns = (unsigned long)code,
				.license = (unsigned long)"GPL", .expected_attach_type = UPROBE_MULTI };
	long program = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	if (program < 0) {
		perror("cannot load the BPF program");
		return 1;
	}
	unsigned long offset = strtoul(argv[2], NULL, 0), semaphore = strtoul(argv[3], NULL, 0);
	struct link link = { .program = program, .type = UPROBE_MULTI, .path = argv[1], .offsets = &offset,
			     .semaphores = &semaphore, .count = 1 };
	if (syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link)) < 0) {
		perror("cannot attach the BPF program");
		return 1;
	}
	while (getchar() != EOF)
		;
	return 0;
}
