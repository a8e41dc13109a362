"""Prints the arguments that bcc reads at the first hit of each probe, in hexadecimal.

    bcc_args.py PID BINARY PROBE:COUNT...

COUNT is the number of arguments. Sends SIGINT to the process once all probes are attached.
"""

import os
import signal
import sys
import time

from bcc import BPF, USDT

pid, binary = int(sys.argv[1]), sys.argv[2]
probes = [(name, int(count)) for name, count in (p.rsplit(":", 1) for p in sys.argv[3:])]
# Array slots of a probe: the number of hits, then the arguments.
SLOTS = 16

source = "BPF_ARRAY(values, u64, %d);\n" % (SLOTS * len(probes))
usdt = USDT(pid=pid, path=binary)
for at, (name, count) in enumerate(probes):
    source += "int probe%d(struct pt_regs *ctx) {\n" % at
    source += "    int slot = %d; u64 *hits = values.lookup(&slot);\n" % (at * SLOTS)
    source += "    if (!hits || *hits) return 0;\n"
    for i in range(1, count + 1):
        # bpf_usdt_readarg does nothing if the variable does not have the size of the argument.
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
