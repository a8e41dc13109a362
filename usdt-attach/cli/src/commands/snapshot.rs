//! `usdt-attach snapshot`: what a program's flight recorder has kept, into a file.

use super::{say, written};
use crate::backend::kernel::grace;
use crate::backend::{Backend, Choice};
use crate::discover::{self, Found};
use crate::error::{Error, Result};
use crate::event::{Event, Value};
use crate::plan::{Options, Plan, Work};
use crate::report::text;
use crate::select::select_any;
use crate::session::{Mechanism, Session};
use crate::stream::Signals;
use crate::time;
use clap::Args;
use std::io::{self, Write};
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    /// The process, a Go program that runs usdtflight
    #[arg(short, long, value_name = "PID")]
    pid: u32,
    /// How long to let the recorder run before, where nobody else has armed it
    #[arg(long = "for", value_name = "T", value_parser = time::duration, default_value = "2s")]
    before: Duration,
}

/// How long writing may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longest path that is read.
const MAX_TEXT: u32 = 1024;

/// What the program said.
enum Answer {
    Path(String),
    Failed(String),
}

pub(super) fn snapshot(args: &SnapshotArgs) -> Result<()> {
    grace::begin();
    let found = discover::process(args.pid)?;
    let signals = Signals::catch()?;
    let backend = Choice::Auto.backend(Mechanism::Auto)?;
    // Attaching arms it.
    let mut told = start(args.pid, &found, &["flight:armed", "flight:snapshot"], Work::Record, &*backend)?;
    wait(&mut told, &signals, args, args.before, false)?;
    let asked = start(args.pid, &found, &["flight:request"], Work::Count { by: Vec::new() }, &*backend)?;
    let answer = wait(&mut told, &signals, args, PATIENCE, true)?;
    drop(asked);
    match answer {
        Some(Answer::Path(path)) => written(writeln!(io::stdout(), "{}", text::escape(path.as_bytes()))),
        Some(Answer::Failed(problem)) => {
            Err(Error::Backend(format!("process {} could not write a snapshot: {problem}", args.pid)))
        }
        None => Err(Error::Backend(format!(
            "no answer from process {} within {} s; does it still run usdtflight.Run?",
            args.pid,
            PATIENCE.as_secs()
        ))),
    }
}

fn start(pid: u32, found: &[Found], globs: &[&str], work: Work, backend: &dyn Backend) -> Result<Session> {
    let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
    let chosen = select_any(found, &globs);
    if chosen.len() < globs.len() {
        return Err(Error::Usage(format!(
            "process {pid} has no flight recorder that can be asked: its program would call usdtflight.Run"
        )));
    }
    let options = Options {
        work,
        pids: Some(vec![pid]),
        max_text: MAX_TEXT,
        buffer: 1 << 16,
        optimisation: crate::optimisation(),
        ..Options::default()
    };
    let (plan, warnings) = Plan::new(&chosen, &options)?;
    warnings.iter().for_each(|w| say(w));
    Session::start(plan, backend)
}

/// Until the time is over or, where one is expected, an answer has come.
fn wait(
    session: &mut Session,
    signals: &Signals,
    args: &SnapshotArgs,
    patience: Duration,
    expected: bool,
) -> Result<Option<Answer>> {
    let begin = Instant::now();
    let mut answer = None;
    while begin.elapsed() < patience && answer.is_none() {
        session.drain(|event| {
            // One that the program has asked for itself is no answer.
            if expected
                && let Some((requested, what)) = read(event)
                && (requested || matches!(what, Answer::Failed(_)))
            {
                answer = Some(what);
            }
        })?;
        if signals.came() {
            return Err(Error::Usage("interrupted".to_owned()));
        }
        if !discover::process::is_alive(args.pid) {
            return Err(Error::NoProcess(args.pid));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(answer)
}

/// Whether a tracer has asked for it, and what became of it.
fn read(event: &Event<'_>) -> Option<(bool, Answer)> {
    if event.probe.name != "snapshot" {
        return None;
    }
    let text = |name: &str| match event.arg(name) {
        Some(Value::Text { bytes, .. }) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    let requested = text("reason").is_some_and(|reason| reason == "requested");
    Some(match text("error") {
        Some(problem) => (requested, Answer::Failed(problem)),
        None => (requested, Answer::Path(text("path")?)),
    })
}
