//! Runs sessions and writes their events and totals to an output, until a signal, a time limit or
//! the end of the target.

use crate::commands::waiting::check_matched;
use crate::drop_messages::DropMonitor;
use crate::signals::Signals;
use cli_common::{say, warn};
use std::io;
use std::time::{Duration, Instant};
use usdt_attach::error::{Error, Result};
use usdt_attach::event::Event;
use usdt_attach::plan::Plan;
use usdt_attach::session::{EventLoop, Session, Summary};

/// When to stop and to report. The event loop itself ends when its target does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StopConditions {
    /// Stop after this time; `None` sets no limit.
    pub(crate) duration: Option<Duration>,
    /// Report totals this often; `None` reports them only at the end.
    pub(crate) interval: Option<Duration>,
}

/// Writes events and totals.
pub(crate) trait Output {
    /// Learns the probes of a session, before its first event.
    fn attached(&mut self, _plan: &Plan) {}
    /// Writes an event. Events come in the order of their times.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;
    /// Writes the totals so far of aggregations in the kernel. `is_last` is set in the final call.
    fn totals(
        &mut self,
        sessions: &[Session],
        is_last: bool,
    ) -> std::result::Result<(), OutputError>;
    /// Writes what is buffered. Called after each batch of events and after totals.
    fn flush(&mut self) -> io::Result<()>;
}

/// Why an output could not write totals.
pub(crate) enum OutputError {
    /// The totals could not be read from the kernel.
    Read(Error),
    /// The totals could not be written.
    Write(io::Error),
}

impl From<Error> for OutputError {
    fn from(error: Error) -> OutputError {
        OutputError::Read(error)
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> OutputError {
        OutputError::Write(error)
    }
}

/// Discards everything.
#[derive(Debug)]
pub(crate) struct Silent;

impl Output for Silent {
    fn event(&mut self, _: &Event<'_>) -> io::Result<()> {
        Ok(())
    }

    fn totals(&mut self, _: &[Session], _: bool) -> std::result::Result<(), OutputError> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The timeout of a poll if neither an interval nor a duration limits it.
const MAX_POLL_TIMEOUT: Duration = Duration::from_secs(3600);

/// Runs an event loop to its end and returns the hit counts.
///
/// # Errors
///
/// A failed write stops the sessions and is returned. A closed pipe stops them, too, but is not an
/// error. Failures of the event loop and of reading totals are returned as they are.
pub(crate) fn run(
    mut event_loop: EventLoop,
    signals: &Signals,
    conditions: StopConditions,
    output: &mut dyn Output,
) -> Result<Summary> {
    event_loop.wake_on(signals.fd()?)?;
    let start = Instant::now();
    let mut last_report = start;
    let mut write_error = None;
    let mut unreadable = 0u64;
    let mut drops = DropMonitor::new();
    let mut is_over = false;
    loop {
        let mut timeout = MAX_POLL_TIMEOUT;
        if let Some(interval) = conditions.interval.filter(|_| !is_over) {
            timeout = timeout.min(interval.saturating_sub(last_report.elapsed()));
        }
        if let Some(duration) = conditions.duration.filter(|_| !is_over) {
            timeout = timeout.min(duration.saturating_sub(start.elapsed()));
        }
        let Some(mut batch) = event_loop.poll(timeout)? else { break };
        for session in batch.new_sessions() {
            output.attached(session.plan());
        }
        // After a failed write, events are still drained so that the hit counts are right.
        while let Some(event) = batch.next()? {
            unreadable += u64::from(event.has_unreadable_string());
            if write_error.is_none() {
                write_error = output.event(&event).err();
            }
        }
        if write_error.is_none() {
            write_error = output.flush().err();
        }
        warn(event_loop.take_warnings());
        drops.check(&event_loop)?;
        is_over |= conditions.duration.is_some_and(|duration| start.elapsed() >= duration)
            || write_error.is_some()
            || signals.received();
        if is_over {
            event_loop.start_detaching();
        } else if conditions.interval.is_some_and(|interval| last_report.elapsed() >= interval) {
            last_report = Instant::now();
            write_error = report(&event_loop, output, false)?;
        }
    }
    check_matched(&event_loop)?;
    if write_error.is_none() {
        write_error = report(&event_loop, output, true)?;
    }
    if unreadable > 0 {
        say(&format!(
            "{unreadable} events have a string that could not be read: it was not in memory, or its pointer is invalid"
        ));
    }
    let summary = event_loop.summary()?;
    if summary.hits == 0 {
        say_no_hits(&event_loop);
    }
    match write_error {
        Some(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write the events", source))
        }
        _ => Ok(summary),
    }
}

/// Says for how long no probe was hit: attaching, and compiling with bcc, takes its time.
fn say_no_hits(event_loop: &EventLoop) {
    if let Some(longest) = event_loop.sessions().iter().map(Session::attached_for).max() {
        say(&format!(
            "the traced processes hit no probe in the {:.1} s after attaching",
            longest.as_secs_f64()
        ));
    }
}

/// Writes the totals so far; returns why they could not be written.
fn report(
    event_loop: &EventLoop,
    output: &mut dyn Output,
    is_last: bool,
) -> Result<Option<io::Error>> {
    match output.totals(event_loop.sessions(), is_last) {
        Ok(()) => Ok(output.flush().err()),
        Err(OutputError::Write(error)) => Ok(Some(error)),
        Err(OutputError::Read(error)) => Err(error),
    }
}
