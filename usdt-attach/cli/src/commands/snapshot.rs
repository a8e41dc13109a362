//! `usdt-attach snapshot`: what a program's flight recorder has kept, into a file.

use crate::output::written;

use crate::signals::Signals;
use clap::Args;
use cli_common::{escape, warn};
use std::io::{self, Write};
use std::time::{Duration, Instant};
use usdt_attach::backend::{Backend, BackendKind};
use usdt_attach::discover::select::select_if_any;
use usdt_attach::discover::{self, ScannedObject};
use usdt_attach::error::{Error, Result};
use usdt_attach::event::{Event, Value};
use usdt_attach::kernel::uprobe_warmup;
use usdt_attach::plan::{Mode, Options, Plan};
use usdt_attach::session::{Mechanism, Session};
use usdt_export::time::parse_duration;

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// The process, a Go program that runs usdtflight
    #[arg(short, long, value_name = "PID")]
    pid: u32,
    /// How long to let the recorder run before, where nobody else has armed it
    #[arg(long = "for", value_name = "T", value_parser = parse_duration, default_value = "2s")]
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

pub(crate) fn snapshot(args: &SnapshotArgs) -> Result<()> {
    uprobe_warmup::start();
    let found = discover::scan_process(args.pid)?;
    let signals = Signals::catch()?;
    let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
    // Attaching arms it.
    let mut told =
        start(args.pid, &found, &["flight:armed", "flight:snapshot"], Mode::Record, &*backend)?;
    wait(&mut told, &signals, args, args.before, false)?;
    let asked =
        start(args.pid, &found, &["flight:request"], Mode::Count { by: Vec::new() }, &*backend)?;
    let answer = wait(&mut told, &signals, args, PATIENCE, true)?;
    drop(asked);
    match answer {
        Some(Answer::Path(path)) => written(writeln!(io::stdout(), "{}", escape(path.as_bytes()))),
        Some(Answer::Failed(problem)) => Err(Error::unsupported(format!(
            "process {} could not write a snapshot: {problem}",
            args.pid
        ))),
        None => Err(Error::unsupported(format!(
            "no answer from process {} within {} s; does it still run usdtflight.Run?",
            args.pid,
            PATIENCE.as_secs()
        ))),
    }
}

fn start(
    pid: u32,
    found: &[ScannedObject],
    globs: &[&str],
    mode: Mode,
    backend: &dyn Backend,
) -> Result<Session> {
    let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
    let chosen = select_if_any(found, &globs);
    if chosen.len() < globs.len() {
        return Err(Error::usage(format!(
            "process {pid} has no flight recorder that can be asked: its program would call usdtflight.Run"
        )));
    }
    let options = Options {
        mode,
        pids: Some(vec![pid]),
        max_string: MAX_TEXT,
        buffer: 1 << 16,
        ..Options::default()
    };
    let (plan, warnings) = Plan::new(&chosen, &options)?;
    warn(warnings);
    Session::start(plan, backend)
}

/// StopConditions the time is over or, where one is expected, an answer has come.
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
            return Err(Error::usage("interrupted"));
        }
        if !discover::is_process_alive(args.pid) {
            return Err(Error::no_process(args.pid));
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
        Some(Value::String { bytes, .. }) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    let requested = text("reason").is_some_and(|reason| reason == "requested");
    Some(match text("error") {
        Some(problem) => (requested, Answer::Failed(problem)),
        None => (requested, Answer::Path(text("path")?)),
    })
}
