//! Argument specifications: what is understood prints, and reads back as the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::argspec::{Arch, parse};
use usdt_fuzz::{metered, text};

fuzz_target!(|data: &[u8]| {
    let spec = text(data);
    metered(|| {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            for arg in parse(&spec, arch) {
                let Ok(value) = arg.value else { continue };
                let printed = value.to_spec(arch);
                let again = parse(&printed, arch);
                assert_eq!(again.len(), 1, "{printed}");
                assert_eq!(again[0].value.as_ref(), Ok(&value), "{printed}");
            }
        }
    });
});
