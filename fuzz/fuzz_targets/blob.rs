//! Blobs in files. The input is a file, or a list of bytes to change in a valid file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::elf::View;
use stapsdt::{blob, schema};
use usdt_fuzz::with_memory_limit;
use usdt_gen::seal::sample_elf;

fuzz_target!(|data: &[u8]| {
    let file = sample_elf::corrupted(data);
    with_memory_limit(|| {
        if let Ok(view) = View::parse(&file) {
            let _ = blob::scan(&view);
            let _ = schema::read(&view);
        }
    });
});
