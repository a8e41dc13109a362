//! The entry points of the library: [`Tracer`] returns events, [`Aggregation`] what the kernel counts.

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
/// Dropping it detaches. It is `Send`: it can be polled on another thread than the one that attached.
#[derive(Debug)]
pub struct Tracer {
    event_loop: EventLoop,
    command: Option<Child>,
}

impl Tracer {
    /// A builder without a target.
    pub fn builder() -> TracerBuilder {
        TracerBuilder::default()
    }

    /// Waits for events, at most `timeout` and at most about 5 ms, and returns the next batch, which may be empty. `None`
    /// after the target has ended, the limit is reached or [`Tracer::detach`] was called, and every event is read.
    ///
    /// A call also attaches to new files of the target, so poll at least twice a second.
    ///
    /// # Errors
    ///
    /// Fails when a buffer cannot be read, when following or attaching to a new file fails, and in a forked child of the
    /// process that attached.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Batch<'_>>> {
        self.event_loop.poll(timeout)
    }

    /// The longest time until the next call of [`Tracer::poll`] in an event loop of the caller's: poll with a timeout of
    /// zero when the descriptor ([`AsFd`]) is readable, and at the latest after this time.
    pub fn timeout(&self) -> Duration {
        self.event_loop.timeout()
    }

    /// Warnings since the last call: what could not be attached to, arguments that cannot be read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.event_loop.take_warnings()
    }

    /// The running command; `None` unless the target is a [`Target::command`](crate::Target::command). It keeps running
    /// when the tracer is dropped. Wait for it here to get its exit status.
    pub fn command(&mut self) -> Option<&mut Child> {
        self.command.as_mut()
    }

    /// Hit counts so far. `hits == delivered + dropped + filtered` holds after the tracer has detached and every event is
    /// read.
    ///
    /// # Errors
    ///
    /// Fails when the counters cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        self.event_loop.summary()
    }

    /// Detaches. Events that are already recorded can still be polled.
    pub fn detach(&mut self) {
        self.event_loop.stop();
    }

    /// Detaches, discards the events that are left, which count as delivered, and returns the hit counts.
    ///
    /// # Errors
    ///
    /// As [`Tracer::poll`] and [`Tracer::summary`].
    pub fn stop(mut self) -> Result<Summary> {
        self.event_loop.stop();
        while let Some(mut batch) = self.event_loop.poll(Duration::ZERO)? {
            while batch.next()?.is_some() {}
        }
        self.event_loop.summary()
    }
}

impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event_loop.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracers_move_between_threads_and_can_be_printed() {
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
