"""Prints the arguments that bcc reads at the first hit of each probe: bcc_args.py PID BINARY PROBE:COUNT...

Interrupts the process when it is attached.
"""

import os
import signal
import sys
import time

from bcc import BPF, USDT

pid, binary = int(sys.argv[1]), sys.argv[2]
probes = [(name, int(count)) for name, count in (p.rsplit(":", 1) for p in sys.argv[3:])]
SLOTS = 16

source = "BPF_ARRAY(values, u64, %d);\n" % (SLOTS * len(probes))
usdt = USDT(pid=pid, path=binary)
for at, (name, count) in enumerate(probes):
    source += "int probe%d(struct pt_regs *ctx) {\n" % at
    source += "    int slot = %d; u64 *hits = values.lookup(&slot);\n" % (at * SLOTS)
    source += "    if (!hits || *hits) return 0;\n"
    for i in range(1, count + 1):
        # A variable of another size is left alone.
        ctype = usdt.get_probe_arg_ctype(name, i - 1)
        source += "    { %s v = 0; bpf_usdt_readarg(%d, ctx, &v); " % (ctype, i)
        source += "int at = %d; u64 wide = v; values.update(&at, &wide); }\n" % (at * SLOTS + i)
    source += "    u64 one = 1; values.update(&slot, &one);\n    return 0;\n}\n"
    usdt.enable_probe_or_bail(name, "probe%d" % at)

bpf = BPF(text=source, usdt_contexts=[usdt])
values = bpf["values"]
os.kill(pid, signal.SIGINT)
for _ in range(300):
    if all(values[at * SLOTS].value for at in range(len(probes))):
        break
    time.sleep(0.1)
for at, (name, count) in enumerate(probes):
    print(name, *("%x" % values[at * SLOTS + i].value for i in range(1, count + 1)))
