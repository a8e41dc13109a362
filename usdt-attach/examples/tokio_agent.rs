//! An agent in tokio: `tokio_agent PID [GLOB…]` reads events by time and when the buffer fills, beside whatever else
//! the runtime does, and stops at Ctrl-C or with the process.
#![allow(unsafe_code)] // tokio asks for a promise about descriptors

use std::time::Duration;
use tokio::io::unix::AsyncFd;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover;
use usdt_attach::discover::select::select;
use usdt_attach::error::Result;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::{Mechanism, Session};

fn start(pid: u32, globs: &[String]) -> Result<Session> {
    let chosen = select(&discover::process(pid)?, globs)?;
    let options = Options { pids: Some(vec![pid]), ..Options::default() };
    let (plan, _) = Plan::new(&chosen, &options)?;
    Session::start(plan, &*BackendKind::Embedded.backend(Mechanism::Auto)?)
}

async fn run(pid: u32, globs: &[String]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut session = start(pid, globs)?;
    // Tokio watches a descriptor of its own, of the same buffer.
    let filling = match session.fd() {
        // SAFETY: an `OwnedFd` is the descriptor's only owner, and gives it to nobody.
        Some(fd) => Some(unsafe { AsyncFd::register(fd.try_clone_to_owned()?) }?),
        None => None,
    };
    let mut clock = tokio::time::interval(Duration::from_millis(5));
    let mut seen = 0u64;
    while discover::process::is_alive(pid) {
        tokio::select! {
            _ = clock.tick() => {}
            Ok(mut ready) = async { match &filling { Some(fd) => fd.readable().await, None => std::future::pending().await } } => {
                ready.clear_ready();
            }
            _ = tokio::signal::ctrl_c() => break,
        }
        while session.drain(|_| seen += 1)? {}
    }
    session.stop();
    while session.drain(|_| seen += 1)? {}
    println!("{seen} events, {:?}", session.summary()?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let Some(pid) = args.next().and_then(|pid| pid.parse().ok()) else {
        eprintln!("usage: tokio_agent PID [GLOB...]");
        std::process::exit(2);
    };
    if let Err(error) = run(pid, &args.collect::<Vec<_>>()).await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
