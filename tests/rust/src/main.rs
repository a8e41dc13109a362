//! Fires probes of the crates `usdt` and `probe` until it has been seen.
use std::time::{Duration, Instant};

#[usdt::provider]
mod rusty {
    fn request__start(id: u64, method: &str, flags: u8) {}
    fn request__done(id: u64, status: i16) {}
}

fn main() {
    usdt::register_probes().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let mut seen = false;
    // `probe_lazy!` says whether somebody looks; its test is the sign to begin.
    while !seen && Instant::now() < end {
        seen = probe::probe_lazy!(cuviper, ready, 1);
        std::thread::sleep(Duration::from_millis(1));
    }
    // The tracer may attach to the other probes a little later.
    std::thread::sleep(Duration::from_millis(300));
    for id in 0..5u64 {
        rusty::request__start!(|| (id, ["GET", "POST", "a longer method"][id as usize % 3], 255 - id as u8));
        probe::probe!(cuviper, work, id, -(id as i64), id as i32 - 2);
        probe::probe_lazy!(cuviper, lazy, id * 1000);
        rusty::request__done!(|| (id, -(id as i16)));
    }
}
