//! Configurations of the exporter: any text is rejected or can be exported.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::{lossy_string, with_memory_limit};

fuzz_target!(|data: &[u8]| {
    let text = lossy_string(data);
    with_memory_limit(|| usdt_export::fuzzing::configuration(&text));
});
