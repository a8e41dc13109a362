//! Blobs in files: the input is a file, or bytes to put into one that is as it should be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::elf::View;
use stapsdt::{blob, schema};
use usdt_fuzz::metered;
use usdt_gen::seal::sample_elf;

fuzz_target!(|data: &[u8]| {
    let file = sample_elf::corrupted(data);
    metered(|| {
        if let Ok(view) = View::parse(&file) {
            let _ = blob::scan(&view);
            let _ = schema::read(&view);
        }
    });
});
