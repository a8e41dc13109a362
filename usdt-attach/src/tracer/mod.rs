//! The face of the library: [`Tracer`] for events, [`Aggregation`] for what is counted in the kernel.

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

/// Probes that are attached to, and the events of their hits.
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
/// Dropping a tracer detaches. It can be moved to another thread.
#[derive(Debug)]
pub struct Tracer {
    event_loop: EventLoop,
    command: Option<Child>,
}

impl Tracer {
    /// Says what to trace.
    pub fn builder() -> TracerBuilder {
        TracerBuilder::default()
    }

    /// Waits until there is something to read, at most `timeout`, and returns the next batch of events, which may be
    /// empty. `None` once the target has ended or the limit is reached, and every event is read.
    ///
    /// A call also attaches to new files of the target, so call it at least twice a second.
    ///
    /// # Errors
    ///
    /// Fails when a buffer cannot be read, when following fails, and in a forked child of the process that attached.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Batch<'_>>> {
        self.event_loop.poll(timeout)
    }

    /// For an event loop of the caller's: call [`Tracer::poll`] with a timeout of zero when the descriptor
    /// ([`AsFd`]) is readable, and at the latest after this time.
    pub fn timeout(&self) -> Duration {
        self.event_loop.timeout()
    }

    /// Warnings since the last call: what could not be attached to, arguments that cannot be read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.event_loop.take_warnings()
    }

    /// The command of [`Target::command`](crate::Target::command). It goes on when the tracer is dropped; whoever wants
    /// its exit status waits for it here.
    pub fn command(&mut self) -> Option<&mut Child> {
        self.command.as_mut()
    }

    /// Event accounting so far. `hits == delivered + dropped + filtered` holds once the tracer has stopped and every
    /// event is read.
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

    /// Detaches, counts events that nobody has read as delivered, and returns the event accounting.
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
