//! The event loop: drains sessions, attaches to new objects of the target, and ends with it.
//!
//! BPF programs do not wake the reader for each record, which keeps a hit cheap. The loop drains the
//! buffers on a timer instead: every millisecond at first, then every five. A buffer that is half
//! full wakes it earlier. The loop has no thread; it works only inside [`EventLoop::poll`].

mod batch;
mod ending;
#[cfg(test)]
mod tests;

pub use self::batch::Batch;
#[cfg(feature = "tokio")]
pub(crate) use self::batch::PollOutcome;

use self::batch::Head;
use super::following::{Attacher, Following, check_ids};
use super::{Session, Summary};
use crate::discover::ScannedObject;
use crate::error::{Error, Result, Warning};
use crate::kernel::{ProcessTree, clock};
use crate::target::{LeftOutChildren, ProcessHandle, Target};
use rustix::event::epoll;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The longest time that a record waits in the buffer.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);
/// The drain interval during [`INITIAL_PHASE`], while a user waits for the first event.
const INITIAL_DRAIN_INTERVAL: Duration = Duration::from_millis(1);
/// The drain interval while sessions detach.
const DETACHING_INTERVAL: Duration = Duration::from_millis(1);
/// How long after attaching [`INITIAL_DRAIN_INTERVAL`] applies.
const INITIAL_PHASE: Duration = Duration::from_millis(100);
/// How often to check whether dropped events have used up the limit.
const LIMIT_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The age in nanoseconds of events of one session before they are merged with those of others. Every
/// transport has published them by then.
const SETTLING_TIME: u64 = 100_000;
/// The timeout if nothing has to be done at a certain time.
const FOREVER: Duration = Duration::from_secs(3600);

/// Polls sessions until their target ends, the limit is reached, or [`EventLoop::detach`] is called.
///
/// [`Tracer`](crate::Tracer) and [`Aggregation`](crate::Aggregation) each own an event loop. Use it
/// directly to poll sessions that you have started yourself.
///
/// ```no_run
/// use std::time::Duration;
/// use usdt_attach::session::{EventLoop, Session};
///
/// # fn run(sessions: Vec<Session>) -> usdt_attach::Result<()> {
/// let mut event_loop = EventLoop::new(sessions)?;
/// while let Some(mut batch) = event_loop.poll(Duration::from_secs(1))? {
///     while let Some(event) = batch.next()? {
///         println!("{}:{}", event.probe.provider, event.probe.name);
///     }
/// }
/// println!("{:?}", event_loop.summary()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventLoop {
    sessions: Vec<Session>,
    /// The number of sessions, the first ones, that [`Batch::new_sessions`] has returned.
    announced: usize,
    /// The hit counts of sessions that were dropped because no process maps their files.
    retained: Summary,
    following: Option<Following>,
    /// Processes that the loop ends with; `None` for those that have exited.
    processes: Vec<Option<ProcessHandle>>,
    /// The processes that the loop ends with, if their children are followed.
    children: Option<ProcessTree>,
    /// True once the tree has been read: its processes may have exited before.
    has_checked_children: bool,
    /// Children that are not followed.
    left_out: Option<LeftOutChildren>,
    limit: Option<u64>,
    wakers: Vec<OwnedFd>,
    epoll: OwnedFd,
    warnings: Vec<Warning>,
    started: Instant,
    /// When the hit counts were last compared with the limit.
    limit_checked: Instant,
    /// The session whose event the batch has moved to last.
    batch_session: usize,
    /// The next event of each session.
    heads: Vec<Head>,
    /// Events after this time wait for the next batch, so that those of several sessions are in
    /// order: in nanoseconds of CLOCK_MONOTONIC.
    batch_end: u64,
    /// When the batch began, in nanoseconds of CLOCK_MONOTONIC.
    batch_began: u64,
    /// The events that the caller has read of this batch.
    batch_events: u64,
    /// The time of the last event.
    last_time: u64,
    /// True if the caller has read the last batch to its end.
    batch_is_read: bool,
    /// True if the batch has moved to an event that the caller has not read yet.
    has_peeked: bool,
    /// True if the last batch reached its maximum size.
    may_have_more: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// The kernel detaches. Hits may still come.
    Detaching,
    /// Detached, with events left in the buffers.
    Draining,
    Finished,
}

/// The epoll user data of descriptors that only wake the loop.
const WAKE: u64 = 0;
/// The epoll user data of the first process; the others follow by index.
const FIRST_PROCESS: u64 = 1;

impl EventLoop {
    /// Creates a loop over attached sessions. It ends only when [`EventLoop::detach`] is called.
    ///
    /// # Errors
    ///
    /// Fails when the process or the system has run out of descriptors.
    pub fn new(sessions: Vec<Session>) -> Result<EventLoop> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(cannot_wait)?;
        let now = Instant::now();
        let event_loop = EventLoop {
            sessions,
            announced: 0,
            retained: Summary::default(),
            following: None,
            processes: Vec::new(),
            children: None,
            has_checked_children: false,
            left_out: None,
            limit: None,
            wakers: Vec::new(),
            epoll,
            warnings: Vec::new(),
            started: now,
            limit_checked: now,
            batch_session: usize::MAX,
            heads: Vec::new(),
            batch_end: u64::MAX,
            batch_began: 0,
            batch_events: 0,
            last_time: 0,
            batch_is_read: true,
            has_peeked: false,
            may_have_more: false,
            state: State::Running,
        };
        for session in &event_loop.sessions {
            event_loop.register_session(session)?;
        }
        Ok(event_loop)
    }

    /// Creates a loop for a target. `session` is attached to what was found of it at first; `None` if
    /// that has no selected probe, so that the loop waits for files that have.
    ///
    /// The loop ends when all of `processes` have exited (`None`: never), and at the limit in the
    /// attacher's options. It attaches to objects that the target executes or maps later. `objects` are those that the first session covers.
    ///
    /// # Errors
    ///
    /// Fails when the process or the system has run out of descriptors, and when another process has
    /// got the id of one of the processes.
    pub fn for_target(
        session: Option<Session>,
        target: &Target,
        objects: &[ScannedObject],
        processes: Option<&[ProcessHandle]>,
        attacher: Attacher,
    ) -> Result<EventLoop> {
        let has_attached = session.is_some();
        let event_loop = EventLoop::new(session.into_iter().collect())?;
        let mut event_loop = if let Some(children) = &attacher.options.children {
            event_loop.until_exit_of_tree(children.clone())?
        } else {
            // Another process may have got the id of one that has ended before the session started.
            check_ids(processes.unwrap_or_default())?;
            event_loop.until_exit(processes.unwrap_or_default())?
        };
        event_loop.limit = attacher.options.limit;
        let mut following = Following::new(target, objects, processes, attacher);
        following.has_attached = has_attached;
        event_loop.follow(following)?;
        Ok(event_loop)
    }

    /// Also attaches to new objects of a target.
    fn follow(&mut self, following: Following) -> Result<()> {
        for fd in following.follower.fds() {
            self.register(fd, WAKE, epoll::EventFlags::IN)?;
        }
        self.following = Some(following);
        Ok(())
    }

    /// Makes the loop end when all of these processes have exited. Has no effect if there are none.
    ///
    /// # Errors
    ///
    /// Fails when the system has run out of epoll watches.
    pub fn until_exit(mut self, processes: &[ProcessHandle]) -> Result<EventLoop> {
        for (process, index) in processes.iter().zip(FIRST_PROCESS..) {
            self.register(process.as_fd(), index, epoll::EventFlags::IN)?;
            self.processes.push(Some(process.clone()));
        }
        Ok(self)
    }

    /// Makes the loop end when all processes of the tree have exited.
    ///
    /// # Errors
    ///
    /// Fails when the system has run out of epoll watches.
    pub fn until_exit_of_tree(mut self, children: ProcessTree) -> Result<EventLoop> {
        self.register(children.fd(), WAKE, epoll::EventFlags::IN)?;
        self.children = Some(children);
        Ok(self)
    }

    /// Adds the number of these children, which are not traced, to the hit counts.
    pub fn report_left_out(&mut self, children: LeftOutChildren) {
        self.left_out = Some(children);
    }

    /// Makes [`EventLoop::poll`] return early while this descriptor is readable, such as a signalfd.
    ///
    /// # Errors
    ///
    /// Fails when epoll does not support the descriptor, such as that of a regular file.
    pub fn wake_on(&mut self, fd: OwnedFd) -> Result<()> {
        self.register(fd.as_fd(), WAKE, epoll::EventFlags::IN)?;
        self.wakers.push(fd);
        Ok(())
    }

    /// The sessions in the order in which they were attached.
    ///
    /// Sessions that record events are dropped when no process maps their files any more, unless the
    /// target names its processes.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Returns the globs that have matched no probe so far. Empty if the loop follows no target.
    pub fn unmatched(&self) -> &[String] {
        self.following.as_ref().map_or(&[], |following| &following.unmatched)
    }

    /// Returns true if the loop is or was attached to something, or follows no target.
    pub fn has_attached(&self) -> bool {
        self.following.as_ref().is_none_or(|following| following.has_attached)
    }

    /// Returns the warnings since the last call, such as about objects that cannot be attached to.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// The longest time that may pass until the next call of [`EventLoop::poll`], even if the
    /// descriptor ([`AsFd`]) is not readable. At most one hour.
    pub fn timeout(&self) -> Duration {
        match self.state {
            _ if self.may_have_more => return Duration::ZERO,
            State::Running => {}
            State::Detaching => return DETACHING_INTERVAL,
            State::Draining | State::Finished => return Duration::ZERO,
        }
        let records_events = self.sessions.iter().any(|session| session.fd().is_some());
        let until_drain = if !records_events {
            FOREVER
        } else if self.started.elapsed() < INITIAL_PHASE {
            INITIAL_DRAIN_INTERVAL
        } else {
            DRAIN_INTERVAL
        };
        let until_scan = self.following.as_ref().map(|f| f.follower.next_poll_in());
        until_scan.map_or(until_drain, |until_scan| until_drain.min(until_scan))
    }

    /// Waits until there is something to do, and returns the next batch of events, which may be
    /// empty. Waits no longer than `timeout` and [`EventLoop::timeout`].
    ///
    /// Returns `None` after the loop has ended and every event is read.
    ///
    /// # Errors
    ///
    /// Fails when a buffer cannot be read, and when following the target or attaching to a new object
    /// fails. Also fails in a forked child of the process that attached.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Batch<'_>>> {
        // Checked before anything is read, because a forked child shares the descriptors.
        self.sessions.iter().try_for_each(Session::check_owner)?;
        // The caller may not have read the last batch to its end.
        self.may_have_more |= !self.batch_is_read;
        if std::mem::take(&mut self.has_peeked)
            && let Some(session) = self.sessions.get(self.batch_session)
            && let Some(head) = self.heads.get_mut(self.batch_session)
        {
            *head = Head::Event(session.time());
        }
        if self.state == State::Running {
            self.detach_or_follow()?;
        }
        self.finish_detaching();
        match self.state {
            State::Running => self.wait(timeout.min(self.timeout()))?,
            // What the loop waits for otherwise may stay readable.
            State::Detaching => std::thread::sleep(timeout.min(self.timeout())),
            State::Draining if self.may_have_more => {}
            State::Draining | State::Finished => {
                self.state = State::Finished;
                return Ok(None);
            }
        }
        self.may_have_more = false;
        self.heads.resize(self.sessions.len(), Head::Unknown);
        for (session, head) in self.sessions.iter_mut().zip(&mut self.heads) {
            if let Head::Event(_) = head {
                session.continue_batch();
            } else {
                *head = Head::Unknown;
                session.begin_batch()?;
            }
        }
        // What is left in the buffers after detaching is read to the end.
        let is_ordered = self.state != State::Draining && self.sessions.len() > 1;
        let now = clock::monotonic_nanoseconds();
        self.batch_end = if is_ordered { now.saturating_sub(SETTLING_TIME) } else { u64::MAX };
        (self.batch_began, self.batch_events) = (now, 0);
        self.batch_is_read = false;
        Ok(Some(Batch { event_loop: self }))
    }

    /// Adds warnings to those that [`EventLoop::take_warnings`] returns.
    pub(crate) fn add_warnings(&mut self, warnings: Vec<Warning>) {
        self.warnings.extend(warnings);
    }

    fn register(&self, fd: BorrowedFd<'_>, user_data: u64, flags: epoll::EventFlags) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(user_data), flags)
            .map_err(cannot_wait)
    }

    /// Registers the session's buffer edge-triggered. The timer drains the buffers anyway, so a level
    /// trigger would only cause wakeups in between.
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
            // A caller that handles signals waits for them through `wake_on`.
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(cannot_wait(error)),
        }
        let exited = events.iter().filter_map(|event| event.data.u64().checked_sub(FIRST_PROCESS));
        for index in exited {
            if let Some(slot) = usize::try_from(index).ok().and_then(|i| self.processes.get_mut(i))
                && let Some(process) = slot.take()
            {
                // Dropping the handle is not enough: epoll reports a file while any duplicate of
                // its descriptor is open.
                let _ = epoll::delete(&self.epoll, process.as_fd());
            }
        }
        Ok(())
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        Session::detach_all(&mut self.sessions);
    }
}

impl AsFd for EventLoop {
    /// A descriptor that becomes readable when [`EventLoop::poll`] should be called before
    /// [`EventLoop::timeout`] has passed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn cannot_wait(source: rustix::io::Errno) -> Error {
    Error::io("cannot wait for events", source.into())
}
