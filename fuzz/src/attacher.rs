//! Probes to plan with, in a file that is this program.

use stapsdt::schema::{self, Kind};
use std::sync::{Arc, LazyLock};
use usdt_attach::discover::select::Selected;
use usdt_attach::discover::{Object, Probe, sample};

/// A probe with an argument of each kind, by short names.
pub fn every_kind() -> Probe {
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
    ];
    let args = kinds.map(|(name, kind, size, signed)| schema::Arg {
        name: name.into(),
        ty: "t".into(),
        kind,
        size,
        signed,
        unit: None,
        doc: String::new(),
    });
    let schema = schema::Probe {
        name: "probe".into(),
        args: args.into(),
        doc: String::new(),
        stability: None,
    };
    let spec = "-8@%rax 2@%bx 8@16(%rsp) 1@24(%rsp) 8@%rdi 8@%rsi 8@%r8 8@%r9 8@%r10 8@%r11 8@32(%rsp) 8@40(%rsp) \
                8@152(%r14)";
    Probe { schema: Some(schema), ..sample::probe(spec) }
}

/// Chosen, in this program's file.
pub fn selected(probe: Probe) -> Selected {
    static OWN: LazyLock<Arc<Object>> = LazyLock::new(|| {
        let own = std::env::current_exe().expect("this program has a file");
        Arc::new(Object::open(&own, &own).expect("it is an object"))
    });
    Selected { object: Arc::clone(&OWN), probe: Arc::new(probe), pids: Arc::from([]) }
}
