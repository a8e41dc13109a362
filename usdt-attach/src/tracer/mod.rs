//! The entry points of the library: [`Tracer`] returns events, [`Aggregation`] returns rows that the
//! kernel aggregates.

mod aggregation;
mod builder;
#[cfg(feature = "tokio")]
mod tokio;

pub use aggregation::Aggregation;
pub use builder::{AggregationBuilder, TracerBuilder};
#[cfg(feature = "tokio")]
pub use tokio::AsyncTracer;

use crate::error::{Result, Warning};
use crate::session::{Batch, EventLoop, Summary};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Child;
use std::time::Duration;

/// Attached probes and the events of their hits.
///
/// ```no_run
/// use std::time::Duration;
/// use usdt_attach::{Target, Tracer};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let mut tracer = Tracer::builder()
///     .target(Target::executable("/usr/bin/app"))
///     .probes(["app:request-*"])
///     .filter("status >= 500".parse()?)
///     .attach()?;
/// while let Some(mut batch) = tracer.poll(Duration::from_secs(1))? {
///     while let Some(event) = batch.next()? {
///         println!("{}:{} {:?}", event.probe.provider, event.probe.name, event.arg("path"));
///     }
/// }
/// println!("{:?}", tracer.stop()?);
/// # Ok(())
/// # }
/// ```
///
/// Dropping the tracer detaches. A tracer is `Send`: another thread than the one that attached may
/// poll it.
///
/// To wait for a tracer in an event loop of your own, register its descriptor ([`AsFd`]). When the
/// descriptor is readable, and at the latest after [`Tracer::timeout`], call [`Tracer::poll`] with a
/// timeout of zero.
#[derive(Debug)]
pub struct Tracer {
    event_loop: EventLoop,
    command: Option<Child>,
}

impl Tracer {
    /// Creates a builder. At least [`TracerBuilder::target`] must be called on it.
    pub fn builder() -> TracerBuilder {
        TracerBuilder::default()
    }

    /// Waits for events and returns the next batch, which may be empty. Waits no longer than
    /// `timeout`, and no longer than about 5 ms.
    ///
    /// Returns `None` when no further event will come: the target has exited, the limit is reached
    /// or [`Tracer::detach`] was called, and every event is read.
    ///
    /// A call also attaches to objects that the target has executed or mapped since, so poll at
    /// least twice a second.
    ///
    /// # Errors
    ///
    /// Fails when a buffer cannot be read, and when following the target or attaching to a new object
    /// fails. Also fails in a forked child of the process that attached.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Batch<'_>>> {
        self.event_loop.poll(timeout)
    }

    /// The longest time that may pass until the next call of [`Tracer::poll`], even if the
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
    /// Wait for the child to get its exit status. It keeps running when the tracer is dropped.
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

    /// Detaches. Events that are already in the buffer can still be polled.
    pub fn detach(&mut self) {
        self.event_loop.detach();
    }

    /// Detaches and returns the final hit counts. Events that have not been read are discarded and
    /// count as delivered.
    ///
    /// # Errors
    ///
    /// Fails when a buffer or the kernel's counters cannot be read, and in a forked child of the
    /// process that attached.
    pub fn stop(mut self) -> Result<Summary> {
        self.event_loop.detach();
        while let Some(mut batch) = self.event_loop.poll(Duration::ZERO)? {
            while batch.next()?.is_some() {}
        }
        self.event_loop.summary()
    }
}

impl AsFd for Tracer {
    /// A descriptor that becomes readable when [`Tracer::poll`] should be called before
    /// [`Tracer::timeout`] has passed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event_loop.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracers_are_send_and_debug() {
        fn is_send_and_debug<T: Send + std::fmt::Debug>() {}
        is_send_and_debug::<Tracer>();
        is_send_and_debug::<Aggregation>();
        is_send_and_debug::<TracerBuilder>();
        is_send_and_debug::<AggregationBuilder>();
        is_send_and_debug::<crate::session::Session>();
        is_send_and_debug::<EventLoop>();
        is_send_and_debug::<crate::target::ResolvedTarget>();
        is_send_and_debug::<crate::event::symbolize::Symbolizer>();
    }
}
