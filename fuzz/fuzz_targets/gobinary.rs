//! Go binaries: reading functions, lines, function entries and field offsets of a binary with
//! changed headers, tables and DWARF neither panics nor takes more than its share of memory.
#![no_main]

use gobinary::GoBinary;
use gobinary::catalog::{all_fields, providers};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use usdt_fuzz::elf_mutation::{LimitedBytes, mutate};
use usdt_fuzz::with_memory_limit;

/// A Go binary that `cargo xtask fuzz` builds.
static VALID: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = std::env::var_os("USDT_FUZZ_GO").expect("USDT_FUZZ_GO names a Go binary");
    std::fs::read(path).expect("a readable Go binary")
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let mut file = VALID.clone();
    mutate(&mut file, data);
    with_memory_limit(|| {
        let Some(go) = GoBinary::read(LimitedBytes(&file)) else { return };
        let _ = (go.version(), go.goid_offset(), go.has_dwarf());
        // Reading DWARF takes a hundred times as long as the rest.
        if kind % 16 == 0 {
            let _ = all_fields().into_iter().next().and_then(|f| go.field_offset_from_dwarf(f));
        }
        let all: Vec<_> = providers().iter().collect();
        let _ = (go.function_entries(&all), go.runtime_layout());
        let table = go.function_table();
        let Some(functions) = table.and_then(|layout| layout.table(LimitedBytes(&file))) else {
            return;
        };
        for function in functions.functions().step_by(64).take(4096) {
            let _ = functions.lookup(function.entry);
            let _ = functions.frames(&function, function.entry.wrapping_add(u64::from(*kind)));
        }
    });
});
