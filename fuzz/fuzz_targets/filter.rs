//! Filters: each that parses can be planned for a probe with arguments of every kind, and emitted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_attach::backend::embedded::emit;
use usdt_attach::backend::kernel::{Abilities, Delivery, MapFds};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::plan::{Options, Plan};
use usdt_fuzz::{attacher, metered, text};

fuzz_target!(|data: &[u8]| {
    let source = text(data);
    metered(|| {
        let _ = Subject::parse(&source);
        let Ok(filter) = Filter::parse(&source) else { return };
        let options = Options { filter: Some(filter), ..Options::default() };
        let Ok((plan, _)) = Plan::new(&[attacher::selected(attacher::every_kind())], &options) else {
            return;
        };
        let maps = MapFds {
            events: 3,
            bell: 12,
            scratch: 4,
            counters: 5,
            control: 6,
            rates: 7,
            table: 8,
            zero: 9,
            starts: 10,
            cgroup: 11,
        };
        for (delivery, modern) in [(Delivery::PerCpu, false), (Delivery::Ring, true), (Delivery::Queue, true)]
        {
            let abilities = Abilities { cookies: modern, delivery, atomics: modern, task: None };
            emit(&plan, &maps, abilities).expect("what was planned can be emitted");
        }
    });
});
