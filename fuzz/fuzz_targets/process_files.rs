//! Files of `/proc` that other users influence: mappings, states and mount tables with any names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::with_memory_limit;

fuzz_target!(|data: &[u8]| with_memory_limit(|| usdt_attach::fuzzing::process_files(data)));
