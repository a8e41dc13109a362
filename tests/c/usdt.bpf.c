// Sends the number of arguments and the arguments of a probe, as libbpf's USDT support reads them.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

struct record {
	long count;
	long args[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

SEC("usdt")
int probe(struct pt_regs *ctx)
{
	struct record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record)
		return 0;
	record->count = bpf_usdt_arg_cnt(ctx);
	for (int i = 0; i < 12; i++) {
		record->args[i] = 0;
		bpf_usdt_arg(ctx, i, &record->args[i]);
	}
	bpf_ringbuf_submit(record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
