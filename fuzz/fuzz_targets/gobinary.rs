//! Go binaries: reading functions, lines, function entries and field offsets of a binary with
//! changed bytes does not panic.
#![no_main]

use gobinary::GoBinary;
use gobinary::catalog::{all_fields, providers};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use usdt_fuzz::with_memory_limit;

/// A Go binary that `cargo xtask fuzz` builds.
static VALID: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = std::env::var_os("USDT_FUZZ_GO").expect("USDT_FUZZ_GO names a Go binary");
    std::fs::read(path).expect("a readable Go binary")
});

fuzz_target!(|data: &[u8]| {
    let mut file = VALID.clone();
    for change in data.chunks_exact(5) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize;
        // Half of the changes are in the first and last 4 KiB, where the headers are.
        let at = match at % 4 {
            0 => at / 4 % 4096,
            1 => file.len() - 1 - at / 4 % 4096,
            _ => at / 4 % file.len(),
        };
        file[at] = change[4];
    }
    with_memory_limit(|| {
        let Some(go) = GoBinary::parse(&file) else { return };
        let _ = (go.goid_offset(), go.has_dwarf());
        // Reading DWARF takes a hundred times as long as the rest.
        if data.len() % 64 == 5 {
            let _ =
                all_fields().into_iter().next().and_then(|field| go.field_offset_from_dwarf(field));
        }
        let all: Vec<_> = providers().iter().collect();
        let _ = (go.function_entries(&file, &all), go.runtime_layout(&file));
        let Some(functions) = go.function_table().and_then(|layout| layout.table(&file)) else {
            return;
        };
        for function in functions.functions().step_by(64) {
            let _ = functions.lookup(function.entry);
            let _ = functions
                .frames(&function, function.entry.wrapping_add(u64::from(data.len() as u32)));
        }
    });
});
