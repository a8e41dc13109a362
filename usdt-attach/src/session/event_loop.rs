//! The event loop: drains sessions, attaches to new objects of the target, and ends with it.
//!
//! Records wait in memory without waking the reader, so that a hit stays cheap. The loop drains them on a timer (every
//! millisecond at first, then every five) and earlier when a buffer is half full. Nothing runs between two calls of
//! [`EventLoop::poll`].

use super::{Session, Summary};
use crate::backend::Backend;
use crate::discover::select::select_if_any;
use crate::discover::{ScannedObject, SchemaFile};
use crate::error::{Error, Result, Warning, WarningKind};
use crate::event::Event;
use crate::plan::{Options, Plan};
use crate::target::follow::Follower;
use crate::target::{ProcessHandle, Target};
use rustix::event::epoll;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a record waits in the buffer at most.
const DRAIN_EVERY: Duration = Duration::from_millis(5);
/// Likewise just after attaching, when people wait for the first event: how often, and for how long.
const DRAIN_AT_FIRST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// How often to check whether dropped events have used up the limit.
const RECOUNT_EVERY: Duration = Duration::from_millis(100);
/// The timeout where nothing else sets one.
const FOREVER: Duration = Duration::from_secs(3600);

/// How to attach to objects that a target runs or maps later.
#[derive(Clone, Debug)]
pub struct Attacher {
    /// Globs of the probes to attach to; every probe if there are none.
    pub globs: Vec<String>,
    /// Names and types of arguments for probes without a schema.
    pub schema: Option<SchemaFile>,
    /// Options of the plans.
    pub options: Options,
    /// The back end that carries out the plans.
    pub backend: Arc<dyn Backend>,
}

impl Attacher {
    /// Attaches to the probes of new objects; `None` if none matches. `remaining` replaces the limit of the options.
    fn attach(
        &self,
        mut found: Vec<ScannedObject>,
        remaining: Option<u64>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Session>> {
        self.schema.iter().for_each(|schema| schema.apply(&mut found));
        let chosen = select_if_any(&found, &self.globs);
        if chosen.is_empty() {
            return Ok(None);
        }
        let options = Options { limit: remaining, ..self.options.clone() };
        match Plan::new(&chosen, &options) {
            Ok((plan, more)) => {
                warnings.extend(more);
                Session::start(plan, &*self.backend).map(Some)
            }
            // A new file that cannot be attached to is no reason to stop tracing the others.
            Err(error) => {
                warnings.push(Warning::new(WarningKind::SkippedObject, format!("{error:#}")));
                Ok(None)
            }
        }
    }
}

/// Sessions that are drained together until their target ends, the limit is reached, or [`EventLoop::stop`] is called.
#[derive(Debug)]
pub struct EventLoop {
    sessions: Vec<Session>,
    following: Option<(Follower, Attacher)>,
    /// Processes that the loop ends with; `None` once they have ended.
    processes: Vec<Option<ProcessHandle>>,
    limit: Option<u64>,
    wakers: Vec<OwnedFd>,
    epoll: OwnedFd,
    warnings: Vec<Warning>,
    started: Instant,
    recounted: Instant,
    /// Index of the session that the batch has come to.
    batch_session: usize,
    /// The batch has moved to an event that nobody has read yet.
    peeked: bool,
    /// The last batch ended by its size.
    may_have_more: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Detached; what was recorded is read until nothing is left.
    Draining,
    Finished,
}

/// What there is to read.
#[cfg(feature = "tokio")]
pub(crate) enum Polled {
    Event,
    Empty,
    Finished,
}

/// Registrations of the epoll descriptor; from `PROCESS` on, the processes by index.
const WAKE: u64 = 0;
const PROCESS: u64 = 1;

impl EventLoop {
    /// A loop over attached sessions.
    ///
    /// # Errors
    ///
    /// Fails when the process or the system has no descriptor left.
    pub fn new(sessions: Vec<Session>) -> Result<EventLoop> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(cannot_wait)?;
        let now = Instant::now();
        let event_loop = EventLoop {
            sessions,
            following: None,
            processes: Vec::new(),
            limit: None,
            wakers: Vec::new(),
            epoll,
            warnings: Vec::new(),
            started: now,
            recounted: now,
            batch_session: usize::MAX,
            peeked: false,
            may_have_more: false,
            state: State::Running,
        };
        for session in &event_loop.sessions {
            event_loop.register_session(session)?;
        }
        Ok(event_loop)
    }

    /// A loop over the first session of a target: it ends with the target's processes, where they are known one by one,
    /// and at the attacher's limit, and attaches to files that the target comes to run. A command is not followed.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::new`], [`EventLoop::follow`] and [`EventLoop::end_with`].
    pub fn for_target(
        session: Session,
        target: &Target,
        found: &[ScannedObject],
        processes: Option<&[ProcessHandle]>,
        attacher: Attacher,
    ) -> Result<EventLoop> {
        let event_loop = EventLoop::new(vec![session])?.limit(attacher.options.limit);
        let event_loop = event_loop.end_with(processes.unwrap_or_default())?;
        match target {
            Target::Command(_) => Ok(event_loop),
            target => event_loop.follow(Follower::new(target, found), attacher),
        }
    }

    /// Also attaches to new objects of the follower's target.
    ///
    /// # Errors
    ///
    /// Fails when the follower's descriptor cannot be waited for.
    pub fn follow(mut self, follower: Follower, attacher: Attacher) -> Result<EventLoop> {
        if let Some(fd) = follower.fd() {
            self.register(fd, WAKE, epoll::EventFlags::IN)?;
        }
        self.following = Some((follower, attacher));
        Ok(self)
    }

    /// Ends after all of these processes have ended.
    ///
    /// # Errors
    ///
    /// Fails when a process cannot be waited for.
    pub fn end_with(mut self, processes: &[ProcessHandle]) -> Result<EventLoop> {
        for (process, index) in processes.iter().zip(PROCESS..) {
            self.register(process.as_fd(), index, epoll::EventFlags::IN)?;
            self.processes.push(Some(process.clone()));
        }
        Ok(self)
    }

    /// Ends after this number of hits that pass the filter; the plans must have the same limit. `None`: no limit.
    pub fn limit(mut self, limit: Option<u64>) -> EventLoop {
        self.limit = limit;
        self
    }

    /// Makes [`EventLoop::poll`] return early while this descriptor is readable.
    ///
    /// # Errors
    ///
    /// Fails when the descriptor cannot be waited for, such as a regular file.
    pub fn wake_on(&mut self, fd: OwnedFd) -> Result<()> {
        self.register(fd.as_fd(), WAKE, epoll::EventFlags::IN)?;
        self.wakers.push(fd);
        Ok(())
    }

    /// The sessions so far, in the order attached.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Warnings about objects that were attached to, or could not be, since the last call.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// The longest time until the next call of [`EventLoop::poll`], also if the descriptor is not readable.
    pub fn timeout(&self) -> Duration {
        if self.may_have_more || self.state != State::Running {
            return Duration::ZERO;
        }
        let records = self.sessions.iter().any(|s| s.fd().is_some());
        let drain = match DRAIN_AT_FIRST {
            _ if !records => FOREVER,
            (interval, beginning) if self.started.elapsed() < beginning => interval,
            _ => DRAIN_EVERY,
        };
        self.following.as_ref().map_or(drain, |(follower, _)| drain.min(follower.next_poll_in()))
    }

    /// Waits, at most `timeout` and at most [`EventLoop::timeout`], and returns the next batch of events, which may be
    /// empty. `None` after the loop has ended and every event is read.
    ///
    /// # Errors
    ///
    /// Fails when a buffer cannot be read, when following or attaching to a new object fails, and in a forked child of the
    /// process that attached.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Batch<'_>>> {
        // Before anything is read or followed: a forked child shares the descriptors.
        self.sessions.iter().try_for_each(Session::check_owner)?;
        // A batch that was not read to its end is read on.
        self.may_have_more |= self.batch_session < self.sessions.len();
        if self.state == State::Running {
            self.stop_or_follow()?;
        }
        match self.state {
            State::Running => self.wait(timeout.min(self.timeout()))?,
            State::Draining if self.may_have_more => {}
            State::Draining | State::Finished => {
                self.state = State::Finished;
                return Ok(None);
            }
        }
        self.may_have_more = false;
        self.sessions.iter_mut().try_for_each(Session::begin_batch)?;
        (self.batch_session, self.peeked) = (0, false);
        Ok(Some(Batch { event_loop: self }))
    }

    /// Moves the batch to its next event, if there is one.
    fn advance(&mut self) -> Result<bool> {
        while let Some(session) = self.sessions.get_mut(self.batch_session) {
            if session.advance()? {
                return Ok(true);
            }
            self.may_have_more |= session.may_have_more();
            self.batch_session += 1;
        }
        Ok(false)
    }

    /// Starts a batch as [`EventLoop::poll`] does, without waiting, and says whether it has an event.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_event(&mut self) -> Result<Polled> {
        if self.peeked {
            return Ok(Polled::Event);
        }
        let Some(batch) = self.poll(Duration::ZERO)? else { return Ok(Polled::Finished) };
        batch.event_loop.peeked = batch.event_loop.advance()?;
        Ok(if batch.event_loop.peeked { Polled::Event } else { Polled::Empty })
    }

    /// The batch that [`EventLoop::poll_event`] has started.
    #[cfg(feature = "tokio")]
    pub(crate) fn batch(&mut self) -> Batch<'_> {
        Batch { event_loop: self }
    }

    /// Adds warnings to those that [`EventLoop::take_warnings`] returns.
    pub(crate) fn warn(&mut self, warnings: Vec<Warning>) {
        self.warnings.extend(warnings);
    }

    /// Detaches. Events that are already recorded can still be polled.
    pub fn stop(&mut self) {
        if self.state == State::Running {
            self.sessions.iter_mut().for_each(Session::stop);
            self.state = State::Draining;
            self.may_have_more = true;
        }
    }

    /// Hit counts of all sessions together.
    ///
    /// # Errors
    ///
    /// Fails when the counters cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        self.sessions
            .iter()
            .try_fold(Summary::default(), |all, session| Ok(all + session.summary()?))
    }

    fn register(&self, fd: BorrowedFd<'_>, index: u64, flags: epoll::EventFlags) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(index), flags).map_err(cannot_wait)
    }

    /// Edge-triggered: buffers are drained on a timer, and their descriptors report only what came since.
    fn register_session(&self, session: &Session) -> Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        session.fd().map_or(Ok(()), |fd| self.register(fd, WAKE, flags))
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut events = Vec::with_capacity(16);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))
        {
            Ok(_) => {}
            // A caller that handles signals waits for them with a descriptor of its own.
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(cannot_wait(error)),
        }
        let ended = events.iter().filter_map(|event| event.data.u64().checked_sub(PROCESS));
        for index in ended {
            if let Some(slot) = usize::try_from(index).ok().and_then(|i| self.processes.get_mut(i))
                && let Some(process) = slot.take()
            {
                // An epoll set reports a descriptor as long as any copy of it is open.
                let _ = epoll::delete(&self.epoll, process.as_fd());
            }
        }
        Ok(())
    }

    /// Stops if the target or the limit has ended; else attaches to new objects.
    fn stop_or_follow(&mut self) -> Result<()> {
        let delivered: u64 = self.sessions.iter().map(Session::delivered).sum();
        let mut ended = !self.processes.is_empty() && self.processes.iter().all(Option::is_none);
        if let Some(limit) = self.limit {
            ended |= delivered >= limit;
            if !ended && self.recounted.elapsed() >= RECOUNT_EVERY {
                self.recounted = Instant::now();
                let so_far = self.summary()?;
                ended |= so_far.delivered + so_far.dropped >= limit;
            }
        }
        if ended {
            self.stop();
            return Ok(());
        }
        let Some((follower, attacher)) = &mut self.following else { return Ok(()) };
        let found = follower.poll_new_objects()?;
        if found.is_empty() {
            return Ok(());
        }
        debug_event!(objects = found.len(), "the target runs new files");
        let remaining = self.limit.map(|limit| limit.saturating_sub(delivered));
        if let Some(session) = attacher.attach(found, remaining, &mut self.warnings)? {
            self.register_session(&session)?;
            self.sessions.push(session);
        }
        Ok(())
    }
}

impl AsFd for EventLoop {
    /// Readable when [`EventLoop::poll`] has something to do before [`EventLoop::timeout`] has passed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// A batch of events, session by session. Each event is lent until the next one is read. A batch that is not read to its
/// end is continued by the next one.
#[derive(Debug)]
pub struct Batch<'a> {
    event_loop: &'a mut EventLoop,
}

impl Batch<'_> {
    /// The next event; `None` at the end of the batch. Events of one session come in order.
    ///
    /// This is no `Iterator`: an event borrows memory that is released when the next one is read.
    ///
    /// # Errors
    ///
    /// Fails when an event buffer cannot be read.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Event<'_>>> {
        let event_loop = &mut *self.event_loop;
        if !std::mem::take(&mut event_loop.peeked) && !event_loop.advance()? {
            return Ok(None);
        }
        Ok(event_loop.sessions.get(event_loop.batch_session).and_then(Session::event))
    }
}

fn cannot_wait(source: rustix::io::Errno) -> Error {
    Error::io("cannot wait for events", source.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Attachment, Counts, Mechanism, TableEntry};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

    /// Has another record until it is stopped, and a descriptor that never becomes readable.
    #[derive(Clone, Debug, Default)]
    struct Backlog(Arc<(AtomicU64, AtomicBool)>);

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
            None
        }

        fn advance(&mut self) -> Result<bool> {
            self.0.0.fetch_add(1, Relaxed);
            Ok(!self.0.1.load(Relaxed))
        }

        fn record(&self) -> &[u8] {
            &[]
        }

        fn release(&mut self) {}

        fn counts(&self) -> Result<Vec<Counts>> {
            Ok(Vec::new())
        }

        fn table(&self) -> Result<Vec<TableEntry>> {
            Ok(Vec::new())
        }

        fn waiting(&self) -> Result<u64> {
            Ok(0)
        }

        fn run_time(&self) -> Result<(u64, u64)> {
            Ok((0, 0))
        }

        fn stop(&mut self) {
            self.0.1.store(true, Relaxed);
        }
    }

    fn read(event_loop: &mut EventLoop, timeout: Duration) -> bool {
        let Some(mut batch) = event_loop.poll(timeout).unwrap() else { return false };
        while batch.next().unwrap().is_some() {}
        true
    }

    #[test]
    fn does_not_wait_after_a_batch_that_ended_by_its_size() {
        let backlog = Backlog::default();
        let session = Session::start(Plan::default(), &backlog).unwrap();
        let mut event_loop = EventLoop::new(vec![session]).unwrap();
        assert!(event_loop.timeout() > Duration::ZERO);
        assert!(read(&mut event_loop, Duration::ZERO));
        let started = Instant::now();
        for _ in 0..50 {
            assert!(read(&mut event_loop, Duration::from_secs(3600)));
            assert_eq!(event_loop.timeout(), Duration::ZERO);
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it waited");
        assert!(backlog.0.0.load(Relaxed) > 50 * 1000);
    }

    #[test]
    fn ends_with_its_processes_and_only_then() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessHandle::open(child.id()).unwrap();
        let mut event_loop = EventLoop::new(Vec::new()).unwrap().end_with(&[process]).unwrap();
        assert!(read(&mut event_loop, Duration::ZERO));
        child.kill().unwrap();
        while read(&mut event_loop, Duration::from_secs(60)) {}
        child.wait().unwrap();
        assert!(!read(&mut event_loop, Duration::ZERO), "the end is final");
    }

    #[test]
    fn reads_what_is_left_after_it_was_stopped() {
        let backlog = Backlog::default();
        let session = Session::start(Plan::default(), &backlog).unwrap();
        let mut event_loop = EventLoop::new(vec![session]).unwrap();
        event_loop.stop();
        assert!(read(&mut event_loop, Duration::from_secs(3600)));
        assert!(!read(&mut event_loop, Duration::from_secs(3600)));
    }
}
