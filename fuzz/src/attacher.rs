//! Sample probes for the planner of usdt-attach, in the file of this program.

use stapsdt::schema::{self, Kind};
use usdt_attach::discover::{Probe, sample};

/// Returns a probe with an argument of every kind.
pub fn probe_with_every_kind() -> Probe {
    let kinds = [
        ("n", Kind::Int, 8, true),
        ("small", Kind::Int, 2, false),
        ("f", Kind::Float, 8, false),
        ("ok", Kind::Bool, 1, false),
        ("p", Kind::Pointer, 8, false),
        ("c", Kind::Cstring, 8, false),
        ("s", Kind::String, 8, false),
        ("b", Kind::Bytes, 8, false),
        ("e", Kind::Error, 8, false),
        ("t", Kind::Time, 8, false),
    ];
    let args =
        kinds.map(|(name, kind, size, signed)| schema::Arg::new(name, "t", kind, size, signed));
    let spec = "-8@%rax 2@%bx 8@16(%rsp) 1@24(%rsp) 8@%rdi 8@%rsi 8@%r8 8@%r9 8@%r10 8@%r11 8@32(%rsp) 8@40(%rsp) 8@48(%rsp) 8@56(%rsp) \
                8@152(%r14)";
    sample::with_args(spec, args.into())
}
