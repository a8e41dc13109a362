//! `usdt-attach snapshot`: makes a Go program write its flight recording to a file.
//!
//! The package `usdtflight` polls the semaphores of three probes. Attaching to `flight:armed`
//! starts the recorder, attaching to `flight:request` asks for a snapshot, and a hit of
//! `flight:snapshot` reports the file or the failure.

use super::process_arg::{ProcessArg, single_pid};
use crate::output::check_write;
use crate::signals::Signals;
use clap::Args;
use cli_common::{print_text, warn};
use std::time::{Duration, Instant};
use usdt_attach::backend::{Backend, BackendKind};
use usdt_attach::discover::select::select_if_any;
use usdt_attach::discover::{self, ScannedObject};
use usdt_attach::error::{Error, Escaped, Result};
use usdt_attach::event::{Event, Value};
use usdt_attach::kernel::uprobe_warmup;
use usdt_attach::plan::{Mode, Options, Plan};
use usdt_attach::session::{Mechanism, Session};
use usdt_attach::{ProcessHandle, Target};
use usdt_export::time::parse_duration;

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// Go process that calls usdtflight.Run
    #[arg(short, long, value_name = "PID|NAME")]
    pid: ProcessArg,
    /// Let the flight recorder run for this time before the snapshot
    #[arg(long, value_name = "T", value_parser = parse_duration, default_value = "2s")]
    warmup: Duration,
}

/// How long the program may take to write the file.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Bytes to which the path and the error are truncated.
const MAX_STRING: u32 = 1024;

/// What the program reported.
enum Report {
    /// The path of the snapshot.
    Written(String),
    /// Why it could not be written.
    Failed(String),
}

pub(crate) fn snapshot(args: &SnapshotArgs) -> Result<()> {
    uprobe_warmup::start();
    let pid = single_pid(&args.pid)?;
    let process = ProcessHandle::open(pid)?;
    let resolved = Target::Processes(vec![process.clone()]).resolve()?;
    let found = resolved.objects;
    warn(resolved.warnings);
    let signals = Signals::catch()?;
    let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
    let mut reports =
        start(pid, &found, &["flight:armed", "flight:snapshot"], Mode::Record, &*backend)?;
    let warmed_up = Instant::now() + args.warmup;
    wait(&process, &signals, warmed_up, || {
        // Snapshots that the program takes by itself meanwhile are not the requested one.
        reports.drain(|_| {}).map(|_| None::<()>)
    })?;
    let request =
        start(pid, &found, &["flight:request"], Mode::Count { by: Vec::new() }, &*backend)?;
    let timed_out = Instant::now() + ANSWER_TIMEOUT;
    let report = wait(&process, &signals, timed_out, || {
        let mut answer = None;
        reports.drain(|event| answer = answer.take().or_else(|| requested_report(event)))?;
        Ok(answer)
    })?;
    drop(request);
    match report {
        Some(Report::Written(path)) => {
            check_write(print_text(&format!("{}\n", Escaped::new(&path)), false))
        }
        Some(Report::Failed(problem)) => {
            Err(Error::unsupported(format!("process {pid} could not write a snapshot: {problem}")))
        }
        None => Err(Error::unsupported(format!(
            "process {} did not answer within {} s; check that usdtflight.Run has not returned",
            pid,
            ANSWER_TIMEOUT.as_secs()
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
    let selected = select_if_any(found, &globs);
    if selected.len() < globs.len() {
        return Err(Error::usage(format!(
            "process {pid} has no flight recorder probes; its program must call usdtflight.Run"
        )));
    }
    let options = Options {
        mode,
        pids: Some(vec![pid]),
        max_string: MAX_STRING,
        buffer: 1 << 16,
        ..Options::default()
    };
    let (plan, warnings) = Plan::new(&selected, &options)?;
    warn(warnings);
    Session::start(plan, backend)
}

/// Polls until there is a result or the deadline has passed. Fails on a signal and if the process
/// ends.
fn wait<T>(
    process: &ProcessHandle,
    signals: &Signals,
    deadline: Instant,
    mut poll: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    while Instant::now() < deadline {
        if let Some(result) = poll()? {
            return Ok(Some(result));
        }
        if signals.received() {
            return Err(Error::usage("interrupted"));
        }
        if !process.is_alive() {
            return Err(discover::no_process(process.pid()));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(None)
}

/// The report of an event that answers a request. `None` for other events, also for a snapshot that
/// the program took by itself, unless it failed.
fn requested_report(event: &Event<'_>) -> Option<Report> {
    if event.probe.name != "snapshot" {
        return None;
    }
    if let Some(problem) = string_arg(event, "error") {
        return Some(Report::Failed(problem));
    }
    let is_requested = string_arg(event, "reason").is_some_and(|reason| reason == "requested");
    if is_requested { string_arg(event, "path").map(Report::Written) } else { None }
}

fn string_arg(event: &Event<'_>, name: &str) -> Option<String> {
    match event.arg(name) {
        Some(Value::String { bytes, .. }) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}
