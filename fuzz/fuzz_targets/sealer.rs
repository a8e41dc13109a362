//! Sealing and repairing: the result is a valid ELF file, and sealing it again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::elf::View;
use usdt_fuzz::with_memory_limit;
use usdt_gen::seal::{Options, sample_elf, seal};
use usdt_gen::verify;

fuzz_target!(|data: &[u8]| {
    let file = sample_elf::corrupted(data);
    with_memory_limit(|| {
        for fix in [false, true] {
            let options = Options { fix, ..Options::default() };
            let Ok(sealed) = seal(&file, &options) else { continue };
            let Some(patches) = sealed.patches else { continue };
            let bytes = patches.to_vec(&file);
            let view = View::parse(&bytes).expect("a sealed file is a valid ELF file");
            let _ = verify::verify(&view);
            let sealed_again = seal(&bytes, &options).expect("a sealed file can be sealed");
            assert!(sealed_again.patches.is_none(), "sealing again changes nothing");
        }
    });
});
