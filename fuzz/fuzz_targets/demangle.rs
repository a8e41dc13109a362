//! Mangled names of Rust and C++: demangling ends, and the result is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_attach::event::demangle;
use usdt_fuzz::{lossy_string, with_memory_limit};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let prefix = ["_Z", "_ZN", "_R", "_RNv"][usize::from(kind % 4)];
    let name: String = lossy_string(data).chars().take(4094).collect();
    with_memory_limit(|| assert!(demangle(&format!("{prefix}{name}")).len() <= 3 * 4096));
});
