//! Type information of a kernel (BTF): looking up structs and functions ends, whatever the types are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::with_memory_limit;

/// The names that are looked up are the first strings.
const STRINGS: &[u8] = b"\0a\0b\0c\0";

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    // One of 16 files has a damaged header.
    let file = if kind % 16 == 0 { data.to_vec() } else { with_header(data) };
    with_memory_limit(|| usdt_attach::fuzzing::kernel_types(&file));
});

/// Returns a file with these types (`struct btf_header`, `include/uapi/linux/btf.h`).
fn with_header(types: &[u8]) -> Vec<u8> {
    let length = types.len() as u32;
    let words = [0x0001_eb9f, 24, 0, length, length, STRINGS.len() as u32];
    [words.map(u32::to_le_bytes).concat().as_slice(), types, STRINGS].concat()
}
