//! An aggregation that the kernel does not have: `aggregator PID PROBE ARG` keeps mean and standard deviation of an
//! integer argument, on a thread of its own.

use std::time::Duration;
use usdt_attach::event::Value;
use usdt_attach::{Result, Target, Tracer};

/// Welford's method: one pass, and no large sums.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let distance = value - self.mean;
        self.mean += distance / self.count;
        self.squares += distance * (value - self.mean);
    }
}

fn run(mut tracer: Tracer, name: &str) -> Result<Moments> {
    let mut moments = Moments::default();
    while let Some(mut batch) = tracer.poll(Duration::from_secs(1))? {
        while let Some(event) = batch.next()? {
            match event.arg(name) {
                Some(Value::Signed(n)) => moments.add(n as f64),
                Some(Value::Unsigned(n)) => moments.add(n as f64),
                _ => {}
            }
        }
    }
    Ok(moments)
}

fn start(pid: u32, probe: &str, name: String) -> Result<Moments> {
    let tracer = Tracer::builder().target(Target::pid(pid)?).probes([probe]).attach()?;
    let thread = std::thread::spawn(move || run(tracer, &name));
    thread.join().unwrap_or_else(|_| Ok(Moments::default()))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [pid, probe, name] = args.as_slice() else {
        eprintln!("usage: aggregator PID PROBE ARG");
        std::process::exit(2);
    };
    match start(pid.parse().unwrap_or(0), probe, name.clone()) {
        Ok(moments) => {
            let deviation = (moments.squares / moments.count.max(1.0)).sqrt();
            println!(
                "{} values, mean {:.3}, deviation {deviation:.3}",
                moments.count, moments.mean
            );
        }
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    }
}
