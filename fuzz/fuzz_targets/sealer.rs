//! Sealing and repairing: what comes out is a file, and sealing it again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::elf::View;
use usdt_fuzz::metered;
use usdt_gen::seal::{Options, sample_elf, seal};
use usdt_gen::verify;

fuzz_target!(|data: &[u8]| {
    let file = sample_elf::corrupted(data);
    metered(|| {
        for fix in [false, true] {
            let options = Options { fix, ..Options::default() };
            let Ok(sealed) = seal(&file, options) else { continue };
            let Some(patches) = sealed.patches else { continue };
            let bytes = patches.to_vec(&file);
            let view = View::parse(&bytes).expect("a sealed file is a file");
            let _ = verify::verify(&view);
            let again = seal(&bytes, options).expect("a sealed file can be sealed");
            assert!(again.patches.is_none(), "sealing again changes nothing");
        }
    });
});
