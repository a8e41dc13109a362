//! Go binaries: reading functions, lines, function entries and field offsets of a binary with
//! changed headers, tables and DWARF neither panics nor takes more than its share of memory.
//!
//! Half of the changes are where the parser reads the valid binary, so that they reach it.
#![no_main]

use gobinary::GoBinary;
use gobinary::catalog::{all_fields, providers};
use libfuzzer_sys::fuzz_target;
use stapsdt::source::Source;
use std::ops::Range;
use std::sync::LazyLock;
use usdt_fuzz::elf_mutation::{LimitedBytes, OPERATION, mutate, reads_of, valid_binaries};
use usdt_fuzz::with_memory_limit;

/// A Go binary, and what is read of it.
struct Valid {
    bytes: Vec<u8>,
    reads: Vec<Range<usize>>,
}

/// The binaries that `cargo xtask fuzz` builds: with DWARF, and stripped.
static VALID: LazyLock<Vec<Valid>> = LazyLock::new(|| {
    let read = |bytes: Vec<u8>| {
        let reads = reads_of(&bytes, |source| parse(source, 0));
        assert!(reads.len() > 100, "{} reads", reads.len());
        Valid { bytes, reads }
    };
    valid_binaries("USDT_FUZZ_GO").map(read).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    if data.len() < OPERATION {
        return;
    }
    let valid = &VALID[usize::from(kind >> 7) % VALID.len()];
    let mut file = valid.bytes.clone();
    mutate(&mut file, &valid.reads, data);
    with_memory_limit(|| parse(LimitedBytes(&file), *kind));
});

fn parse<'a>(source: impl Source<'a>, kind: u8) {
    let Some(go) = GoBinary::read(source) else { return };
    let _ = (go.version(), go.goid_offset(), go.has_dwarf());
    // Reading DWARF takes a hundred times as long as the rest.
    if kind % 16 == 0 {
        let _ = all_fields().into_iter().next().and_then(|f| go.field_offset_from_dwarf(f));
    }
    let all: Vec<_> = providers().iter().collect();
    let _ = (go.function_entries(&all), go.runtime_layout());
    let Some(functions) = go.function_table().and_then(|layout| layout.table(source)) else {
        return;
    };
    for function in functions.functions().step_by(64).take(4096) {
        let _ = functions.lookup(function.entry);
        let _ = functions.frames(&function, function.entry.wrapping_add(u64::from(kind)));
    }
}
