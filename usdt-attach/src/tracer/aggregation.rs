//! Counts, histograms and latencies.

use crate::error::{Result, Warning};
use crate::event::counts::Row;
use crate::session::{EventLoop, Session, Summary};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Child;
use std::time::Duration;

/// Attached probes whose hits the kernel aggregates into rows: counts, histograms or latencies.
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
///         println!("{:?} {:?}", row.labels, row.total);
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropping the aggregation detaches. It is `Send`, and can be waited for like a
/// [`Tracer`](crate::Tracer).
#[derive(Debug)]
pub struct Aggregation {
    pub(super) event_loop: EventLoop,
    pub(super) command: Option<Child>,
}

impl Aggregation {
    /// Waits for `timeout`, and meanwhile attaches to objects that the target executes or maps.
    /// Returns false, possibly earlier, when the target has exited, the limit is reached or
    /// [`Aggregation::detach`] was called.
    ///
    /// # Errors
    ///
    /// Fails when following the target or attaching to a new object fails, and in a forked child of
    /// the process that attached.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool> {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let Some(mut batch) = self.event_loop.poll(left)? else { return Ok(false) };
            // Sessions that aggregate have no events. The next poll waits once this is known.
            while batch.next()?.is_some() {}
            if left.is_zero() {
                return Ok(true);
            }
        }
    }

    /// The totals since attaching, most hits first. Hits that happen during the call may or may not
    /// be included.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn snapshot(&self) -> Result<Vec<Row>> {
        Session::merged_rows(self.event_loop.sessions())
    }

    /// The longest time that may pass until the next call of [`Aggregation::poll`], even if the
    /// descriptor is not readable. At most one hour.
    pub fn timeout(&self) -> Duration {
        self.event_loop.timeout()
    }

    /// Returns the warnings since the last call: objects and probes that were skipped, and
    /// arguments that cannot be read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.event_loop.take_warnings()
    }

    /// The running command; `None` unless the target is a [`Target::command`](crate::Target::command).
    ///
    /// Wait for the child to get its exit status. It keeps running when the aggregation is dropped.
    pub fn command(&mut self) -> Option<&mut Child> {
        self.command.as_mut()
    }

    /// The hit counts so far.
    ///
    /// # Errors
    ///
    /// Fails when the kernel's counters cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        self.event_loop.summary()
    }

    /// Detaches. The totals can still be read.
    pub fn detach(&mut self) {
        self.event_loop.detach();
    }
}

impl AsFd for Aggregation {
    /// A descriptor that becomes readable when [`Aggregation::poll`] should be called before
    /// [`Aggregation::timeout`] has passed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event_loop.as_fd()
    }
}
