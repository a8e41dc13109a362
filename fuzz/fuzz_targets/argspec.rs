//! Argument specifications: a parsed argument prints a specification that parses to the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::argspec::{Arch, parse};
use usdt_fuzz::{lossy_string, with_memory_limit};

fuzz_target!(|data: &[u8]| {
    let spec = lossy_string(data);
    with_memory_limit(|| {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            for arg in parse(&spec, arch) {
                let Ok(value) = arg.value else { continue };
                let printed = value.to_spec(arch);
                let parsed_again = parse(&printed, arch);
                assert_eq!(parsed_again.len(), 1, "{printed}");
                assert_eq!(parsed_again[0].value.as_ref(), Ok(&value), "{printed}");
            }
        }
    });
});
