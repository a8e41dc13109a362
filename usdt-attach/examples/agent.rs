//! An agent in a plain loop: `agent PID [GLOB…]` prints what the process's probes say until it ends.

use std::time::Duration;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::{self, select};
use usdt_attach::error::Result;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::{Mechanism, Session};
use usdt_attach::target::Target;

fn run(pid: u32, globs: &[String]) -> Result<()> {
    let target = Target::Pids(vec![pid]);
    let found = target.resolve(true)?;
    let chosen = select::select(&found.found, globs)?;
    let options = Options { pids: found.pids, ..Options::default() };
    let (plan, warnings) = Plan::new(&chosen, &options)?;
    warnings.iter().for_each(|warning| eprintln!("{warning}"));
    let mut session = Session::start(plan, &*BackendKind::Embedded.backend(Mechanism::Auto)?)?;
    while discover::process::is_alive(pid) {
        drain(&mut session)?;
        // Nobody is woken for an event: a few milliseconds of them are read at once.
        std::thread::sleep(Duration::from_millis(5));
    }
    session.stop();
    drain(&mut session)?;
    eprintln!("{:?}", session.summary()?);
    Ok(())
}

fn drain(session: &mut Session) -> Result<()> {
    let print = |event: &usdt_attach::event::Event<'_>| {
        let args: Vec<String> = event.args().map(|(name, value)| format!("{name}={value:?}")).collect();
        println!("{}:{} {}", event.probe.provider, event.probe.name, args.join(" "));
    };
    while session.drain(print)? {}
    Ok(())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(pid) = args.next().and_then(|pid| pid.parse().ok()) else {
        eprintln!("usage: agent PID [GLOB...]");
        std::process::exit(2);
    };
    if let Err(error) = run(pid, &args.collect::<Vec<_>>()) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
