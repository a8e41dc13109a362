//! Running sessions to their end: events and counts go to an output until a signal, the time limit, or the target's end.

use crate::signals::Signals;
use cli_common::warn;
use std::io;
use std::time::{Duration, Instant};
use usdt_attach::error::{Error, Result};
use usdt_attach::event::Event;
use usdt_attach::session::{EventLoop, Session, Summary};

/// When to stop and to report, apart from what the event loop ends with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StopConditions {
    /// Stop after this time.
    pub(crate) duration: Option<Duration>,
    /// Report what is counted this often.
    pub(crate) interval: Option<Duration>,
}

/// Where results go.
pub(crate) trait Output {
    /// An event, in order.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;
    /// What is counted so far; `last` in the final call.
    fn counted(&mut self, sessions: &[Session], last: bool) -> Result<io::Result<()>>;
    /// The end of a batch.
    fn flush(&mut self) -> io::Result<()>;
}

/// Discards everything.
#[derive(Debug)]
pub(crate) struct Silent;

impl Output for Silent {
    fn event(&mut self, _: &Event<'_>) -> io::Result<()> {
        Ok(())
    }

    fn counted(&mut self, _: &[Session], _: bool) -> Result<io::Result<()>> {
        Ok(Ok(()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The timeout where nothing else sets one.
const FOREVER: Duration = Duration::from_secs(3600);

/// Hands everything to `output`, until the end. A failed write ends the sessions; a closed pipe is no error.
pub(crate) fn run(
    mut event_loop: EventLoop,
    signals: &Signals,
    conditions: StopConditions,
    output: &mut dyn Output,
) -> Result<Summary> {
    event_loop.wake_on(signals.fd()?)?;
    let start = Instant::now();
    let mut reported = start;
    let mut trouble = None;
    loop {
        let mut timeout = FOREVER;
        if let Some(interval) = conditions.interval {
            timeout = timeout.min(interval.saturating_sub(reported.elapsed()));
        }
        if let Some(duration) = conditions.duration {
            timeout = timeout.min(duration.saturating_sub(start.elapsed()));
        }
        let Some(mut batch) = event_loop.poll(timeout)? else { break };
        // After a failed write events are only counted.
        while let Some(event) = batch.next()? {
            if trouble.is_none() {
                trouble = output.event(&event).err();
            }
        }
        if trouble.is_none() {
            trouble = output.flush().err();
        }
        warn(event_loop.take_warnings());
        let over = conditions.duration.is_some_and(|duration| start.elapsed() >= duration);
        if over || trouble.is_some() || signals.came() {
            event_loop.detach();
        } else if conditions.interval.is_some_and(|interval| reported.elapsed() >= interval) {
            reported = Instant::now();
            trouble = report(&event_loop, output, false)?;
        }
    }
    if trouble.is_none() {
        trouble = report(&event_loop, output, true)?;
    }
    match trouble {
        Some(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write the events", source))
        }
        _ => event_loop.summary(),
    }
}

fn report(
    event_loop: &EventLoop,
    output: &mut dyn Output,
    last: bool,
) -> Result<Option<io::Error>> {
    Ok(output.counted(event_loop.sessions(), last)?.and_then(|()| output.flush()).err())
}
