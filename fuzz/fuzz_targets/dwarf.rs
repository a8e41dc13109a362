//! Debug information of Go binaries: reading signatures, locations, types and values of functions
//! in a binary with changed headers and debug sections neither panics nor takes more than its share
//! of memory.
#![no_main]

use gobinary::GoBinary;
use gobinary::dwarf::DebugInfo;
use gobinary::value_path::{Point, ValuePath};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use usdt_fuzz::elf_mutation::{LimitedBytes, mutate};
use usdt_fuzz::with_memory_limit;

/// A Go binary that `cargo xtask fuzz` builds, and the addresses of some of its functions.
static VALID: LazyLock<(Vec<u8>, Vec<u64>)> = LazyLock::new(|| {
    let path = std::env::var_os("USDT_FUZZ_GO").expect("USDT_FUZZ_GO names a Go binary");
    let file = std::fs::read(path).expect("a readable Go binary");
    let go = GoBinary::parse(&file).expect("a Go binary");
    let table = go.function_table().expect("a function table");
    let table = table.table(&file[..]).expect("the function table in the file");
    let ours = table.functions().filter(|function| function.name.starts_with("main."));
    let entries = ours.map(|function| function.entry).take(8).collect();
    (file, entries)
});

/// Overwrites bytes of debug sections: the first byte chooses the section, the next ones the place.
fn damage(file: &mut [u8], data: &[u8]) {
    let Ok(view) = stapsdt::elf::View::parse(file) else { return };
    let sections: Vec<(usize, usize)> = view
        .sections
        .iter()
        .filter(|section| section.name.contains("debug_"))
        .map(|section| (section.offset as usize, section.size as usize))
        .filter(|(_, size)| *size > 0)
        .collect();
    for change in data.chunks_exact(6).take(64) {
        let &[which, near, a, b, c, value] = change else { continue };
        let Some((start, size)) = sections.get(usize::from(which) % sections.len().max(1)) else {
            return;
        };
        let size = if near % 2 == 0 { 512.min(*size) } else { *size };
        let at = u32::from_le_bytes([a, b, c, 0]) as usize % size;
        if let Some(byte) = file.get_mut(start + at) {
            *byte = value;
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let (valid, entries) = &*VALID;
    let mut file = valid.clone();
    if kind % 2 == 0 {
        damage(&mut file, data)
    } else {
        mutate(&mut file, data)
    }
    with_memory_limit(|| {
        let Some(go) = GoBinary::read(LimitedBytes(&file)) else { return };
        let Ok(mut info) = DebugInfo::read(&go) else { return };
        for entry in entries {
            let _ = info.located_at(*entry, entry.wrapping_add(u64::from(*kind)));
            let Ok(signature) = info.signature(*entry) else { continue };
            for variable in signature.parameters.iter().chain(&signature.results) {
                let _ = info.default_value(variable);
                let path = format!("{}.a[1].b", variable.name);
                if let Ok(path) = ValuePath::parse(&path) {
                    let _ = info.value_at(&signature, Point::Entry, &path);
                }
            }
        }
        if let Some(types) = go.dynamic_types() {
            for address in entries {
                let _ = (types.name(*address), types.error_data(*address));
            }
        }
    });
});
