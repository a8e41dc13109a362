//! Filters: each that parses can be planned for a probe with arguments of every kind, and emitted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_attach::compile_for_every_kernel;
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::discover::sample;
use usdt_attach::plan::{Options, Plan};
use usdt_fuzz::{attacher, metered, text};

fuzz_target!(|data: &[u8]| {
    let source = text(data);
    metered(|| {
        let _ = Subject::parse(&source);
        let Ok(filter) = Filter::parse(&source) else { return };
        let options = Options { filter: Some(filter), ..Options::default() };
        let Ok((plan, _)) = Plan::new(&[sample::selected(attacher::every_kind())], &options)
        else {
            return;
        };
        compile_for_every_kernel(&plan).expect("what was planned can be emitted");
    });
});
