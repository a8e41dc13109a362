//! Records as they come from the kernel: any bytes are an event or none, and reading one does no harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use usdt_attach::event::Decoder;
use usdt_attach::discover::sample;
use usdt_attach::plan::{Options, Plan};
use usdt_fuzz::{attacher, metered};

fuzz_target!(|data: &[u8]| {
    let Some((kind, record)) = data.split_first() else { return };
    metered(|| {
        let options = Options {
            max_string: u32::from(kind >> 2),
            stack: (kind & 1 != 0).then_some(u32::from(kind >> 4)),
            strings: if kind & 2 != 0 { vec!["n".into()] } else { Vec::new() },
            ..Options::default()
        };
        let Ok((plan, _)) = Plan::new(&[sample::selected(attacher::every_kind())], &options)
        else {
            return;
        };
        let decoder = Decoder::new(Arc::new(plan));
        // The cookie is right, so that the rest is looked at.
        let mut record = record.to_vec();
        record.iter_mut().take(4).for_each(|byte| *byte = 0);
        if let Some(event) = decoder.decode(&record) {
            let _ = event.comm();
            let _ = event.stack().map(Iterator::count);
            for (name, value) in event.args() {
                let _ = format!("{name} {value:?}");
            }
        }
    });
});
