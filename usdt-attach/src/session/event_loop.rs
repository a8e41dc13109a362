//! Running sessions to their end: events out; signals, intervals, new files and the target's end in.

use crate::discover::ScannedObject;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::session::{Session, Summary};
use crate::target::follow::Follower;
use crate::target::watch;
use rustix::event::epoll;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// When to stop, beside a signal, and what to do on the way.
pub struct StopConditions {
    /// After so many hits, as the plan's limit says.
    pub events: Option<u64>,
    /// After this time.
    pub duration: Option<Duration>,
    /// When all of these have ended.
    pub pids: Option<Vec<u32>>,
    /// How often to report what was counted.
    pub interval: Option<Duration>,
}

/// Where results go.
pub trait Output {
    /// An event, in order.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;
    /// What was counted so far. `last` says that nothing comes after it.
    fn counted(&mut self, sessions: &[Session], last: bool) -> Result<io::Result<()>>;
    /// The end of a batch.
    fn flush(&mut self) -> io::Result<()>;
}

/// For what reports in another way.
pub struct Silent;

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

/// Attaches to files that a target has come to run; `None` where there is nothing to attach to. The number is what
/// is left of the limit.
pub type Attach<'a> = dyn FnMut(Vec<ScannedObject>, Option<u64>) -> Result<Option<Session>> + 'a;

/// The sessions of one target.
pub struct Group<'a> {
    pub sessions: Vec<Session>,
    pub follower: Option<Follower>,
    pub attach: Box<Attach<'a>>,
}

/// How long a record lies in the buffer at most: nobody is woken for it.
const DRAIN_EVERY: Duration = Duration::from_millis(5);
/// And at the beginning, when somebody waits to see that it works.
const DRAIN_AT_FIRST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// How often to look whether dropped events have used up the limit.
const RECOUNT_EVERY: Duration = Duration::from_millis(100);
/// How long to wait where nothing is to be done meanwhile.
const FOREVER: Duration = Duration::from_secs(3600);

/// Exit status after a second signal, as shells have it for SIGINT.
pub const INTERRUPTED_TWICE: i32 = 130;

/// Signals that end a session, from here until this is dropped.
pub struct Signals {
    receiver: UnixStream,
    registered: Vec<signal_hook::SigId>,
}

impl Signals {
    /// From here on the signals do not end the program by themselves.
    pub fn catch() -> Result<Signals> {
        let failed = |source| Error::Io { what: "cannot catch signals", source };
        let (receiver, sender) = UnixStream::pair().map_err(failed)?;
        receiver.set_nonblocking(true).map_err(failed)?;
        let mut registered = Vec::new();
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Whoever asks twice does not want to wait for a reader that has stopped reading. The kernel detaches.
            let shutdown = signal_hook::flag::register_conditional_shutdown(
                signal,
                INTERRUPTED_TWICE,
                Arc::clone(&told),
            );
            registered.push(shutdown.map_err(failed)?);
            registered.push(signal_hook::flag::register(signal, Arc::clone(&told)).map_err(failed)?);
            let sender = sender.try_clone().map_err(failed)?;
            registered.push(signal_hook::low_level::pipe::register(signal, sender).map_err(failed)?);
        }
        Ok(Signals { receiver, registered })
    }
}

impl Signals {
    /// Whether one has come.
    pub fn came(&self) -> bool {
        rustix::net::recv(&self.receiver, &mut [0; 1], rustix::net::RecvFlags::PEEK).is_ok()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// What epoll reports, by registration: from `PROCESS` on, the processes waited for.
const RING: u64 = 0;
const SIGNAL: u64 = 1;
const EXEC: u64 = 2;
const PROCESS: u64 = 3;

fn system(source: rustix::io::Errno) -> Error {
    Error::Io { what: "cannot wait for events", source: source.into() }
}

/// The descriptors waited for.
struct Poll {
    epoll: OwnedFd,
    /// Those of processes; `None` once they have ended.
    alive: Vec<Option<OwnedFd>>,
}

impl Poll {
    fn new(group: &Group<'_>, signals: &Signals, until: &StopConditions) -> Result<Poll> {
        let ready = epoll::EventFlags::IN;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
        let mut poll = Poll { epoll, alive: Vec::new() };
        epoll::add(&poll.epoll, &signals.receiver, epoll::EventData::new_u64(SIGNAL), ready)
            .map_err(system)?;
        for session in &group.sessions {
            poll.session(session)?;
        }
        if let Some(fd) = group.follower.as_ref().and_then(Follower::fd) {
            epoll::add(&poll.epoll, fd, epoll::EventData::new_u64(EXEC), ready).map_err(system)?;
        }
        for (pid, index) in until.pids.iter().flatten().zip(PROCESS..) {
            // A process that has ended meanwhile is not there to be waited for.
            let fd = watch(*pid).ok();
            if let Some(fd) = &fd {
                epoll::add(&poll.epoll, fd, epoll::EventData::new_u64(index), ready).map_err(system)?;
            }
            poll.alive.push(fd);
        }
        Ok(poll)
    }

    /// Edge-triggered: the buffer is drained by time, and its descriptor reports only what asked for attention.
    fn session(&mut self, session: &Session) -> Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let Some(fd) = session.fd() else { return Ok(()) };
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(RING), flags).map_err(system)
    }

    fn all_ended(&self) -> bool {
        self.alive.iter().all(Option::is_none)
    }

    /// Which registrations are ready.
    fn wait(&self, timeout: Duration) -> Result<Vec<u64>> {
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut events = Vec::with_capacity(16);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) => Ok(events.iter().map(|e| e.data.u64()).collect()),
            // A signal came; its pipe tells.
            Err(rustix::io::Errno::INTR) => Ok(Vec::new()),
            Err(error) => Err(system(error)),
        }
    }
}

/// Hands everything to `output`, until the end. An error of it ends the sessions, too; a closed pipe is no error.
pub fn run(
    group: &mut Group<'_>,
    signals: &Signals,
    until: &StopConditions,
    output: &mut dyn Output,
) -> Result<Summary> {
    let mut poll = Poll::new(group, signals, until)?;
    let records = group.sessions.iter().any(|s| s.fd().is_some());
    let start = Instant::now();
    let (mut recount, mut reported) = (start, start);
    let mut trouble = None;
    let mut ended = until.pids.is_some() && poll.all_ended();
    let mut more = false;
    while !ended && trouble.is_none() {
        let mut timeout = match DRAIN_AT_FIRST {
            _ if more => Duration::ZERO,
            _ if !records => FOREVER,
            (often, beginning) if start.elapsed() < beginning => often,
            _ => DRAIN_EVERY,
        };
        if let Some(follower) = &group.follower {
            timeout = timeout.min(follower.next_poll_in());
        }
        if let Some(interval) = until.interval {
            timeout = timeout.min(interval.saturating_sub(reported.elapsed()));
        }
        if let Some(duration) = until.duration {
            timeout = timeout.min(duration.saturating_sub(start.elapsed()));
        }
        for event in poll.wait(timeout)? {
            match event {
                RING | EXEC => {}
                SIGNAL => ended = true,
                process => {
                    let index = usize::try_from(process - PROCESS).ok();
                    if let Some(slot) = index.and_then(|i| poll.alive.get_mut(i)) {
                        *slot = None;
                    }
                    ended |= poll.all_ended();
                }
            }
        }
        more = batch(&mut group.sessions, output, &mut trouble)?;
        ended |= until.duration.is_some_and(|d| start.elapsed() >= d);
        let delivered: u64 = group.sessions.iter().map(Session::delivered).sum();
        if let Some(limit) = until.events {
            ended |= delivered >= limit;
            if !ended && recount.elapsed() >= RECOUNT_EVERY {
                recount = Instant::now();
                let so_far = total(&group.sessions)?;
                ended |= so_far.delivered + so_far.dropped >= limit;
            }
        }
        if until.interval.is_some_and(|interval| reported.elapsed() >= interval)
            && trouble.is_none()
            && !ended
        {
            reported = Instant::now();
            trouble = output.counted(&group.sessions, false)?.and_then(|()| output.flush()).err();
        }
        if !ended {
            follow(group, &mut poll, until.events.map(|limit| limit.saturating_sub(delivered)))?;
        }
    }
    group.sessions.iter_mut().for_each(Session::stop);
    while batch(&mut group.sessions, output, &mut trouble)? {}
    if trouble.is_none() {
        trouble = output.counted(&group.sessions, true)?.and_then(|()| output.flush()).err();
    }
    match trouble {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io { what: "cannot write the events", source: error })
        }
        _ => total(&group.sessions),
    }
}

/// Attaches to what the target has come to run.
fn follow(group: &mut Group<'_>, poll: &mut Poll, left: Option<u64>) -> Result<()> {
    let Some(follower) = &mut group.follower else { return Ok(()) };
    let found = follower.poll_new_objects()?;
    if found.is_empty() {
        return Ok(());
    }
    if let Some(session) = (group.attach)(found, left)? {
        poll.session(&session)?;
        group.sessions.push(session);
    }
    Ok(())
}

/// The account of all sessions.
fn total(sessions: &[Session]) -> Result<Summary> {
    let mut all = Summary::default();
    for session in sessions {
        all = all + session.summary()?;
    }
    Ok(all)
}

/// One batch of each session. After a failed write events are only counted.
fn batch(sessions: &mut [Session], output: &mut dyn Output, trouble: &mut Option<io::Error>) -> Result<bool> {
    let mut more = false;
    for session in sessions {
        more |= session.drain(|event| {
            if trouble.is_none() {
                *trouble = output.event(event).err();
            }
        })?;
    }
    if trouble.is_none() {
        *trouble = output.flush().err();
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Attachment, Backend, Counts, Entry, Mechanism};
    use crate::plan::Plan;
    use std::cell::Cell;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::rc::Rc;

    /// Always has another batch until it is stopped, and nobody is woken for it.
    #[derive(Clone)]
    struct Backlog {
        read: Rc<Cell<u64>>,
        stopped: Rc<Cell<bool>>,
        silent: Rc<UnixStream>,
    }

    impl Backend for Backlog {
        fn attach(&self, _: &Arc<Plan>) -> Result<Box<dyn Attachment>> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Attachment for Backlog {
        fn mechanism(&self) -> Mechanism {
            Mechanism::Auto
        }

        fn fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.silent.as_fd())
        }

        fn drain(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<bool> {
            self.read.set(self.read.get() + 1);
            Ok(!self.stopped.get())
        }

        fn counts(&self) -> Result<Vec<Counts>> {
            Ok(Vec::new())
        }

        fn table(&self) -> Result<Vec<Entry>> {
            Ok(Vec::new())
        }

        fn waiting(&self) -> Result<u64> {
            Ok(0)
        }

        fn run_time(&self) -> Result<(u64, u64)> {
            Ok((0, 0))
        }

        fn stop(&mut self) {
            self.stopped.set(true);
        }
    }

    /// A batch every few milliseconds would be no more than 100 of them.
    #[test]
    fn where_there_is_more_nobody_waits() {
        let (silent, _other) = UnixStream::pair().unwrap();
        let backlog = Backlog { read: Rc::default(), stopped: Rc::default(), silent: Rc::new(silent) };
        let session = Session::start(Plan::default(), &backlog).unwrap();
        let attach = Box::new(|_: Vec<ScannedObject>, _: Option<u64>| Ok(None));
        let mut group = Group { sessions: vec![session], follower: None, attach };
        let duration = Some(Duration::from_millis(100));
        let until = StopConditions { events: None, duration, pids: None, interval: None };
        run(&mut group, &Signals::catch().unwrap(), &until, &mut Silent).unwrap();
        assert!(backlog.read.get() > 200, "{} batches", backlog.read.get());
    }
}
