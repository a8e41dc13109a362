//! Debug information of Go binaries: reading signatures, types, values by their paths and types of
//! interfaces with changed DWARF neither panics nor takes more than its share of memory.
//!
//! The changes are in the debug sections, and mostly where the reader reads the valid file.
#![no_main]

use gobinary::GoBinary;
use gobinary::dwarf::DebugInfo;
use gobinary::value_path::{Point, ValuePath};
use libfuzzer_sys::fuzz_target;
use stapsdt::elf::View;
use stapsdt::source::Source;
use std::ops::Range;
use std::sync::LazyLock;
use usdt_fuzz::elf_mutation::{LimitedBytes, OPERATION, mutate, reads_of, valid_binaries};
use usdt_fuzz::with_memory_limit;

/// A Go binary, and what is read of it.
struct Valid {
    bytes: Vec<u8>,
    reads: Vec<Range<usize>>,
    /// The entries of functions with parameters of many types.
    functions: Vec<u64>,
}

/// The binaries that `cargo xtask fuzz` builds: with DWARF that is not compressed, and with
/// compressed DWARF.
static VALID: LazyLock<Vec<Valid>> = LazyLock::new(|| {
    let read = |bytes: Vec<u8>| {
        let functions = functions(&bytes);
        assert!(functions.len() > 10, "{} functions", functions.len());
        let mut reads = reads_of(&bytes, |source| parse(source, &functions, 0));
        // The beginning of each debug section, in parts. Changes of the rest are where entries,
        // lists and names are read.
        let view = View::parse(&bytes).expect("an ELF file");
        for section in view.sections.iter().filter(|section| section.name.contains("debug_")) {
            let (start, size) = (section.offset as usize, section.size.min(4096) as usize);
            reads.extend((0..size).step_by(64).map(|at| start + at..start + (at + 64).min(size)));
        }
        Valid { reads, functions, bytes }
    };
    valid_binaries("USDT_FUZZ_DWARF").map(read).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    if data.len() < OPERATION {
        return;
    }
    let valid = &VALID[usize::from(kind >> 7) % VALID.len()];
    let mut file = valid.bytes.clone();
    mutate(&mut file, &valid.reads, data);
    with_memory_limit(|| parse(LimitedBytes(&file), &valid.functions, *kind));
    // As a separate file, the changed one cannot change what is known of the binary.
    with_memory_limit(|| {
        let Some(go) = GoBinary::read(LimitedBytes(&valid.bytes)) else { return };
        if let Ok(info) = DebugInfo::read_separate(&go, LimitedBytes(&file)) {
            read(info, &valid.functions, *kind);
        }
    });
});

/// Returns the entries of the functions of package main, and of some others.
fn functions(bytes: &[u8]) -> Vec<u64> {
    let go = GoBinary::parse(bytes).expect("a Go binary");
    let table = go.function_table().and_then(|layout| layout.table(bytes)).expect("functions");
    let is_ours = |name: &str| name.starts_with("main.") || name.starts_with("net/url.Parse");
    let found = table.functions().filter(|function| is_ours(function.name));
    found.take(40).map(|function| function.entry).collect()
}

fn parse<'a>(source: impl Source<'a>, functions: &[u64], kind: u8) {
    let Some(go) = GoBinary::read(source) else { return };
    if let Ok(info) = DebugInfo::read(&go) {
        read(info, functions, kind);
    }
    if let Some(types) = go.dynamic_types()
        && let Ok(view) = View::read(source)
        && let Some(section) = view.section(".rodata")
    {
        for at in 0..32 {
            let address = section.addr.wrapping_add((at * 32 + u64::from(kind)) * 32);
            let _ = (types.name(address), types.error_data(address));
        }
    }
}

fn read<'a, S: Source<'a>>(mut info: DebugInfo<'a, S>, functions: &[u64], kind: u8) {
    const PATHS: [&str; 17] = [
        "s.name",
        "s.limits.low",
        "s",
        "*s",
        "key",
        "len(s.values)",
        "o.list[2]",
        "text",
        "wait",
        "err",
        "cap(text)",
        "in.first.Scheme",
        "key[1]",
        "s.name[0]",
        "err.(*errors.errorString).s",
        "ret1.(*fmt.wrapError).msg[2]",
        "v.(*main.store).name",
    ];
    for entry in functions {
        let _ = info.located_at(*entry, entry.wrapping_add(u64::from(kind % 16)));
        let Ok(signature) = info.signature(*entry) else { continue };
        let _ = signature.to_string();
        for variable in signature.parameters.iter().chain(&signature.results) {
            let _ = info.default_value(variable);
        }
        for path in PATHS {
            let Ok(path) = ValuePath::parse(path) else { continue };
            for point in [Point::Entry, Point::Return] {
                let _ = info.value_at(&signature, point, &path);
            }
        }
    }
}
