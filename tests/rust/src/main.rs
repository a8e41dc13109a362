//! Fires probes of the crates `usdt` and `probe` once a tracer is attached.
use std::time::{Duration, Instant};

#[usdt::provider]
mod rusty {
    fn request__start(id: u64, method: &str, flags: u8) {}
    fn request__done(id: u64, status: i16) {}
}

fn main() {
    usdt::register_probes().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let mut is_traced = false;
    // `probe_lazy!` returns true if a tracer is attached to its probe.
    while !is_traced && Instant::now() < end {
        is_traced = probe::probe_lazy!(cuviper, ready, 1);
        std::thread::sleep(Duration::from_millis(1));
    }
    // The tracer may attach to the other probes a moment later.
    std::thread::sleep(Duration::from_millis(300));
    for id in 0..5u64 {
        rusty::request__start!(|| (id, ["GET", "POST", "a longer method"][id as usize % 3], 255 - id as u8));
        probe::probe!(cuviper, work, id, -(id as i64), id as i32 - 2);
        probe::probe_lazy!(cuviper, lazy, id * 1000);
        rusty::request__done!(|| (id, -(id as i16)));
    }
}
