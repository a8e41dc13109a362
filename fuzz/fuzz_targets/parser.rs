//! Definitions: a parsed model prints a definition that parses to the same model, and generates a
//! package.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::{lossy_string, with_memory_limit};
use usdt_gen::{dlang, golang};

fuzz_target!(|data: &[u8]| {
    let source = lossy_string(data);
    with_memory_limit(|| {
        let parsed = dlang::parse(&source);
        for diagnostic in parsed.diagnostics.iter().take(20) {
            let _ = diagnostic.render(&parsed.sources, false);
        }
        if let Some(model) = parsed.model {
            let printed = dlang::print(&model);
            let parsed_again = dlang::parse(&printed);
            assert_eq!(
                parsed_again.model.as_ref(),
                Some(&model),
                "{printed}\n{:?}",
                parsed_again.diagnostics
            );
            let _ = golang::generate(&model, "probes.d", golang::Package::named("probes"));
        }
    });
});
