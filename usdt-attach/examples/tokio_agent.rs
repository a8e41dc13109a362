//! An agent in a tokio runtime: `tokio_agent PID [GLOB…]` counts the events of a process until it exits
//! or Ctrl-C is pressed.
#![allow(clippy::disallowed_macros)] // an example without the command line's output functions

use usdt_attach::{Result, Target, Tracer};

async fn run(pid: u32, globs: &[String]) -> Result<()> {
    let tracer = Tracer::builder().target(Target::pid(pid)?).probes(globs).attach()?;
    let mut tracer = tracer.into_async()?;
    let mut count = 0u64;
    loop {
        tokio::select! {
            batch = tracer.next_batch() => match batch? {
                Some(mut batch) => while batch.next()?.is_some() { count += 1 },
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    println!("{count} events, {:?}", tracer.stop()?);
    Ok(())
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let Some(pid) = args.next().and_then(|pid| pid.parse().ok()) else {
        eprintln!("usage: tokio_agent PID [GLOB...]");
        std::process::exit(2);
    };
    if let Err(error) = run(pid, &args.collect::<Vec<_>>()).await {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}
