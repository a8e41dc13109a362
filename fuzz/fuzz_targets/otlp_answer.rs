//! Answers of an OTLP collector: any status, headers and body have a meaning, and a pause has a
//! limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::with_memory_limit;

fuzz_target!(|data: &[u8]| with_memory_limit(|| usdt_export::fuzzing::otlp_answer(data)));
