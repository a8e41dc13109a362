"""Prints the number and the string of the first hits of probe `hit`, as bcc reads them.

    bcc_hits.py PID BINARY HITS
"""

import sys

from bcc import BPF, USDT

pid, binary, wanted = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
usdt = USDT(pid=pid, path=binary)
usdt.enable_probe_or_bail("hit", "hit")
bpf = BPF(
    text="""
struct record { u64 n, length; u8 text[32]; };
BPF_PERF_OUTPUT(records);
int hit(struct pt_regs *ctx) {
    struct record record = {};
    bpf_usdt_readarg(2, ctx, &record.n);
    bpf_usdt_readarg(4, ctx, &record.length);
    bpf_usdt_readarg_p(3, ctx, &record.text, sizeof(record.text));
    records.perf_submit(ctx, &record, sizeof(record));
    return 0;
}
""",
    usdt_contexts=[usdt],
)
seen = 0


def show(cpu, data, size):
    global seen
    record = bpf["records"].event(data)
    if seen < wanted:
        print(record.n, bytes(record.text[: record.length]).decode())
    seen += 1


bpf["records"].open_perf_buffer(show)
for _ in range(300):
    if seen >= wanted:
        break
    bpf.perf_buffer_poll(timeout=100)
