//! Definitions: whatever is a model prints, reads back as the same one, and is a package.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::{metered, text};
use usdt_gen::{dlang, golang};

fuzz_target!(|data: &[u8]| {
    let source = text(data);
    metered(|| {
        let parsed = dlang::parse(&source);
        for diagnostic in parsed.diagnostics.iter().take(20) {
            let _ = diagnostic.render(&parsed.sources, false);
        }
        if let Some(model) = parsed.model {
            let printed = dlang::print(&model);
            let again = dlang::parse(&printed);
            assert_eq!(again.model.as_ref(), Some(&model), "{printed}\n{:?}", again.diagnostics);
            let _ = golang::generate(&model, "probes.d", golang::Package::named("probes"));
        }
    });
});
