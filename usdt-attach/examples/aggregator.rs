//! An aggregator of one's own: `aggregator PID PROBE ARG` keeps the mean and the deviation of an argument, from raw
//! records, without making a value of anything else in them.

use std::time::Duration;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover;
use usdt_attach::discover::select::select;
use usdt_attach::error::{Error, Result};
use usdt_attach::plan::{Action, ArgSlot, Options, Plan};
use usdt_attach::session::{Mechanism, Session};

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

fn run(pid: u32, probe: &str, name: &str) -> Result<()> {
    let chosen = select(&discover::process(pid)?, &[probe.to_owned()])?;
    let options = Options { pids: Some(vec![pid]), ..Options::default() };
    let (plan, _) = Plan::new(&chosen, &options)?;
    // Where the argument is in the records of each site, by the number that every record begins with.
    let words: Vec<Option<ArgSlot>> = plan
        .sites()
        .iter()
        .map(|site| match &plan.handlers.get(site.handler as usize)?.action {
            Action::Record(layout) => layout.args.iter().find(|arg| arg.name == name)?.word,
            _ => None,
        })
        .collect();
    if words.iter().all(Option::is_none) {
        return Err(Error::Usage(format!("{probe} has no argument `{name}`")));
    }
    let mut session = Session::start(plan, &*BackendKind::Embedded.backend(Mechanism::Auto)?)?;
    let mut moments = Moments::default();
    let mut add = |record: &[u8]| {
        let site = record.first_chunk::<4>().map_or(0, |raw| u32::from_le_bytes(*raw));
        let word = words.get(site as usize).copied().flatten();
        if let Some(value) = word.and_then(|word| word.read(record)) {
            moments.add(value as f64);
        }
    };
    while discover::process::is_alive(pid) {
        while session.drain_raw(&mut add)? {}
        std::thread::sleep(Duration::from_millis(5));
    }
    session.stop();
    while session.drain_raw(&mut add)? {}
    let deviation = (moments.squares / moments.count.max(1.0)).sqrt();
    println!("{} values, mean {:.3}, deviation {deviation:.3}", moments.count, moments.mean);
    Ok(())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.as_slice() {
        [pid, probe, name] => pid.parse().ok().map(|pid| run(pid, probe, name)),
        _ => None,
    };
    match result {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
        None => {
            eprintln!("usage: aggregator PID PROBE ARG");
            std::process::exit(2);
        }
    }
}
