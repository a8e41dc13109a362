//! Counts, histograms and latencies.

use crate::error::{Result, Warning};
use crate::event::counts::Row;
use crate::session::{EventLoop, Session, Summary};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Child;
use std::time::Duration;

/// Attached probes and what the kernel counts of their hits.
///
/// ```no_run
/// use std::time::Duration;
/// use usdt_attach::{Target, Tracer};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let mut latency = Tracer::builder()
///     .target(Target::pid(42)?)
///     .latency("app:request-start", "app:request-end")
///     .by(["method".parse()?])
///     .attach()?;
/// while latency.poll(Duration::from_secs(1))? {
///     for row in latency.snapshot()? {
///         println!("{:?} {:?}", row.key, row.total);
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropping it detaches. It is `Send`.
#[derive(Debug)]
pub struct Aggregation {
    pub(super) event_loop: EventLoop,
    pub(super) command: Option<Child>,
}

impl Aggregation {
    /// Waits for `timeout`, following the target meanwhile. False after the target has ended or the limit is reached.
    ///
    /// # Errors
    ///
    /// Fails when following fails, and in a forked child of the process that attached.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool> {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if self.event_loop.poll(left)?.is_none() {
                return Ok(false);
            }
            if left.is_zero() {
                return Ok(true);
            }
        }
    }

    /// The totals since attaching, most hits first. Concurrent hits may or may not be included.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn snapshot(&self) -> Result<Vec<Row>> {
        Session::rows_of(self.event_loop.sessions())
    }

    /// The longest time until the next call of [`Aggregation::poll`] in an event loop of the caller's: poll with a timeout
    /// of zero when the descriptor ([`AsFd`]) is readable, and at the latest after this time.
    pub fn timeout(&self) -> Duration {
        self.event_loop.timeout()
    }

    /// Warnings since the last call: what could not be attached to, arguments that cannot be read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.event_loop.take_warnings()
    }

    /// The running command; `None` unless the target is a [`Target::command`](crate::Target::command).
    pub fn command(&mut self) -> Option<&mut Child> {
        self.command.as_mut()
    }

    /// Hit counts so far.
    ///
    /// # Errors
    ///
    /// Fails when the counters cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        self.event_loop.summary()
    }

    /// Detaches. The totals can still be read.
    pub fn detach(&mut self) {
        self.event_loop.stop();
    }
}

impl AsFd for Aggregation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event_loop.as_fd()
    }
}
