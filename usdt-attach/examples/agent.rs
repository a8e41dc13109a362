//! An agent with a plain loop: `agent PID [GLOB…]` prints the events of a process until it exits.
#![allow(clippy::disallowed_macros)] // an example without the command line's output functions

use std::time::Duration;
use usdt_attach::error::Escaped;
use usdt_attach::{Result, Target, Tracer};

fn run(pid: u32, globs: &[String]) -> Result<()> {
    let mut tracer = Tracer::builder().target(Target::pid(pid)?).probes(globs).attach()?;
    while let Some(mut batch) = tracer.poll(Duration::from_secs(1))? {
        while let Some(event) = batch.next()? {
            // Names and strings of a process may contain escape sequences.
            let probe = format!("{}:{}", event.probe.provider, event.probe.name);
            print!("{}", Escaped::new(&probe));
            for (name, value) in event.args() {
                let value = value.to_plain_string();
                print!(" {}={}", Escaped::new(name), Escaped::new(&value));
            }
            println!();
        }
        for warning in tracer.take_warnings() {
            eprintln!("warning: {warning}");
        }
    }
    eprintln!("{:?}", tracer.stop()?);
    Ok(())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(pid) = args.next().and_then(|pid| pid.parse().ok()) else {
        eprintln!("usage: agent PID [GLOB...]");
        std::process::exit(2);
    };
    if let Err(error) = run(pid, &args.collect::<Vec<_>>()) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}
