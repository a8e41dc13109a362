//! Filters: for every filter that can be planned for a probe with all argument kinds, code can be
//! generated.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_attach::compile_for_every_kernel;
use usdt_attach::discover::sample;
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::plan::{Options, Plan};
use usdt_fuzz::{attacher, lossy_string, with_memory_limit};

fuzz_target!(|data: &[u8]| {
    let source = lossy_string(data);
    with_memory_limit(|| {
        let _ = Subject::parse(&source);
        let Ok(filter) = Filter::parse(&source) else { return };
        let options = Options { filter: Some(filter), ..Options::default() };
        let Ok((plan, _)) =
            Plan::new(&[sample::selected(attacher::probe_with_every_kind())], &options)
        else {
            return;
        };
        compile_for_every_kernel(&plan).expect("code for a valid plan");
    });
});
