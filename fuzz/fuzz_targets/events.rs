//! Event records: decoding any bytes yields an event or `None`, and reading its arguments does not
//! panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use usdt_attach::discover::sample;
use usdt_attach::event::Decoder;
use usdt_attach::plan::{Options, Plan};
use usdt_fuzz::{attacher, with_memory_limit};

fuzz_target!(|data: &[u8]| {
    let Some((kind, record)) = data.split_first() else { return };
    with_memory_limit(|| {
        let options = Options {
            max_string: u32::from(kind >> 2),
            stack: (kind & 1 != 0).then_some(u32::from(kind >> 4)),
            strings: if kind & 2 != 0 { vec!["n".into()] } else { Vec::new() },
            ..Options::default()
        };
        let Ok((plan, _)) =
            Plan::new(&[sample::selected(attacher::probe_with_every_kind())], &options)
        else {
            return;
        };
        let decoder = Decoder::new(Arc::new(plan));
        // Set a valid cookie, so that the rest of the record is decoded.
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
