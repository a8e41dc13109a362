//! An aggregation in user space: `aggregator PID PROBE ARG` computes the mean and the standard
//! deviation of an integer argument, on a thread of its own.
#![allow(clippy::disallowed_macros)] // an example without the command line's output functions

use std::time::Duration;
use usdt_attach::event::Value;
use usdt_attach::{Result, Target, Tracer};

/// Mean and variance by Welford's algorithm, which needs one pass and no large sums.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    /// Sum of the squared differences from the mean.
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }

    fn standard_deviation(&self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt()
    }
}

/// Aggregates until the process exits.
fn aggregate(mut tracer: Tracer, name: &str) -> Result<Moments> {
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

fn run(pid: u32, probe: &str, name: String) -> Result<Moments> {
    let tracer = Tracer::builder().target(Target::pid(pid)?).probes([probe]).attach()?;
    // A tracer is `Send`: this thread attaches, the other one polls.
    let thread = std::thread::spawn(move || aggregate(tracer, &name));
    thread.join().unwrap_or_else(|_| Ok(Moments::default()))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [pid, probe, name] = args.as_slice() else {
        eprintln!("usage: aggregator PID PROBE ARG");
        std::process::exit(2);
    };
    let Ok(pid) = pid.parse() else {
        eprintln!("error: `{pid}` is not a process id");
        std::process::exit(2);
    };
    match run(pid, probe, name.clone()) {
        Ok(moments) => println!(
            "{} values, mean {:.3}, deviation {:.3}",
            moments.count,
            moments.mean,
            moments.standard_deviation()
        ),
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::exit(1);
        }
    }
}
