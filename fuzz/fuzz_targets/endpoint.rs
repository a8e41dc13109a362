//! The HTTP endpoint: any bytes get an HTTP answer or a closed connection. They are also read as a
//! web configuration and as credentials.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::with_memory_limit;

fuzz_target!(|data: &[u8]| with_memory_limit(|| usdt_export::fuzzing::endpoint(data)));
