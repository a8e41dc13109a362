//! Running a session to its end: events out, signals and the target's end in.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::session::{Session, Summary};
use crate::target::watch;
use rustix::event::epoll;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// When to stop, beside a signal.
pub(crate) struct Until {
    /// After so many hits, as the plan's limit says.
    pub(crate) events: Option<u64>,
    /// After this time.
    pub(crate) duration: Option<Duration>,
    /// When all of these have ended.
    pub(crate) pids: Option<Vec<u32>>,
}

/// How long a record lies in the buffer at most: nobody is woken for it.
const DRAIN_EVERY: Duration = Duration::from_millis(5);
/// How often to look whether dropped events have used up the limit.
const RECOUNT_EVERY: Duration = Duration::from_millis(100);

/// Signals that end a session, from here until this is dropped.
pub(crate) struct Signals {
    receiver: UnixStream,
    registered: Vec<signal_hook::SigId>,
}

impl Signals {
    /// From here on the signals do not end the program by themselves.
    pub(crate) fn catch() -> Result<Signals> {
        let failed = |source| Error::Io { what: "cannot catch signals", source };
        let (receiver, sender) = UnixStream::pair().map_err(failed)?;
        receiver.set_nonblocking(true).map_err(failed)?;
        let mut registered = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let sender = sender.try_clone().map_err(failed)?;
            registered.push(signal_hook::low_level::pipe::register(signal, sender).map_err(failed)?);
        }
        Ok(Signals { receiver, registered })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// What epoll reports, by registration.
const RING: u64 = 0;
const SIGNAL: u64 = 1;
const PROCESS: u64 = 2;

/// Hands every event to `on_event`, in order, and calls `flush` after each batch, until the end. An error of
/// either ends the session, too; a closed pipe is no error.
pub(crate) fn run(
    session: &mut Session<'_>,
    signals: &Signals,
    until: &Until,
    on_event: &mut dyn FnMut(&Event<'_>) -> io::Result<()>,
    flush: &mut dyn FnMut() -> io::Result<()>,
) -> Result<Summary> {
    let system =
        |source: rustix::io::Errno| Error::Io { what: "cannot wait for events", source: source.into() };
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
    let ready = epoll::EventFlags::IN;
    // Edge-triggered: the buffer is drained by time, and its descriptor reports only what asked for attention.
    epoll::add(&poll, session.fd(), epoll::EventData::new_u64(RING), ready | epoll::EventFlags::ET)
        .map_err(system)?;
    epoll::add(&poll, &signals.receiver, epoll::EventData::new_u64(SIGNAL), ready).map_err(system)?;
    let mut alive: Vec<Option<OwnedFd>> = Vec::new();
    for (pid, index) in until.pids.iter().flatten().zip(PROCESS..) {
        // A process that has ended meanwhile is not there to be waited for.
        let fd = watch(*pid).ok();
        if let Some(fd) = &fd {
            epoll::add(&poll, fd, epoll::EventData::new_u64(index), ready).map_err(system)?;
        }
        alive.push(fd);
    }
    let start = Instant::now();
    let mut recount = start;
    let mut trouble = None;
    let mut ended = until.pids.is_some() && alive.iter().all(Option::is_none);
    while !ended && trouble.is_none() {
        let mut timeout = DRAIN_EVERY;
        if let Some(duration) = until.duration {
            timeout = timeout.min(duration.saturating_sub(start.elapsed()));
        }
        for event in wait(&poll, timeout).map_err(system)? {
            match event {
                RING => {}
                SIGNAL => ended = true,
                process => {
                    if let Some(slot) = usize::try_from(process - PROCESS).ok().and_then(|i| alive.get_mut(i))
                    {
                        *slot = None;
                    }
                    ended |= alive.iter().all(Option::is_none);
                }
            }
        }
        batch(session, on_event, flush, &mut trouble)?;
        ended |= until.duration.is_some_and(|d| start.elapsed() >= d);
        if let Some(limit) = until.events {
            ended |= session.delivered() >= limit;
            if !ended && recount.elapsed() >= RECOUNT_EVERY {
                recount = Instant::now();
                let so_far = session.summary()?;
                ended |= so_far.delivered + so_far.dropped + so_far.filtered >= limit;
            }
        }
    }
    session.stop();
    while batch(session, on_event, flush, &mut trouble)? {}
    match trouble {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io { what: "cannot write the events", source: error })
        }
        _ => session.summary(),
    }
}

/// Which registrations are ready.
fn wait(poll: &OwnedFd, timeout: Duration) -> rustix::io::Result<Vec<u64>> {
    let timeout = rustix::event::Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    let mut events = Vec::with_capacity(16);
    match epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
        Ok(_) => Ok(events.iter().map(|e| e.data.u64()).collect()),
        // A signal came; its pipe tells.
        Err(rustix::io::Errno::INTR) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// One batch. After a failed write events are only counted.
fn batch(
    session: &mut Session<'_>,
    on_event: &mut dyn FnMut(&Event<'_>) -> io::Result<()>,
    flush: &mut dyn FnMut() -> io::Result<()>,
    trouble: &mut Option<io::Error>,
) -> Result<bool> {
    let more = session.drain(|event| {
        if trouble.is_none() {
            *trouble = on_event(event).err();
        }
    })?;
    if trouble.is_none() {
        *trouble = flush().err();
    }
    Ok(more)
}
