//! A tracer in a tokio runtime.
#![allow(unsafe_code)] // `AsyncFd::register` requires that the descriptor stays open

use super::Tracer;
use crate::error::{Error, Result, Warning};
use crate::session::{Batch, PollOutcome, Summary};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use tokio::io::unix::AsyncFd;

/// A [`Tracer`] whose batches are awaited. [`Tracer::into_async`] creates it.
///
/// ```no_run
/// # async fn run() -> usdt_attach::Result<()> {
/// # use usdt_attach::{Target, Tracer};
/// let tracer = Tracer::builder().target(Target::executable("/usr/bin/app")).attach()?;
/// let mut tracer = tracer.into_async()?;
/// while let Some(mut batch) = tracer.next_batch().await? {
///     while let Some(event) = batch.next()? {
///         println!("{}:{}", event.probe.provider, event.probe.name);
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Available with the crate feature `tokio`.
#[derive(Debug)]
pub struct AsyncTracer {
    /// Declared before the tracer, so that the runtime drops its registration first.
    readable: AsyncFd<OwnedFd>,
    tracer: Tracer,
}

impl Tracer {
    /// Registers the tracer with the current tokio runtime, which needs its I/O and time drivers.
    ///
    /// Available with the crate feature `tokio`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, and in a runtime without an I/O driver.
    ///
    /// # Errors
    ///
    /// Fails when the descriptor cannot be duplicated or registered.
    pub fn into_async(self) -> Result<AsyncTracer> {
        let fd = self.event_loop.as_fd().try_clone_to_owned().map_err(cannot_wait)?;
        // SAFETY: the descriptor is a duplicate that only the `AsyncFd` owns, so it stays open while
        // it is registered.
        let readable =
            unsafe { AsyncFd::register(fd) }.map_err(|error| cannot_wait(error.into()))?;
        Ok(AsyncTracer { readable, tracer: self })
    }
}

impl AsyncTracer {
    /// Waits for the next batch, which has at least one event. Returns `None` when no further event
    /// will come: the target has exited or the limit is reached, and every event is read.
    ///
    /// Cancel safe: no event is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// Fails when a buffer cannot be read, and when following the target or attaching to a new object
    /// fails. Also fails in a forked child of the process that attached.
    pub async fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        loop {
            match self.tracer.event_loop.poll_event()? {
                PollOutcome::Event => return Ok(Some(self.tracer.event_loop.batch())),
                PollOutcome::Finished => return Ok(None),
                PollOutcome::Empty => self.wait().await?,
            }
        }
    }

    async fn wait(&self) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(self.tracer.timeout()) => {}
            ready = self.readable.readable() => ready.map_err(cannot_wait)?.clear_ready(),
        }
        Ok(())
    }

    /// Returns the warnings since the last call: objects and probes that were skipped, and
    /// arguments that cannot be read.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.tracer.take_warnings()
    }

    /// The running command, as in [`Tracer::command`].
    pub fn command(&mut self) -> Option<&mut Child> {
        self.tracer.command()
    }

    /// The hit counts so far.
    ///
    /// # Errors
    ///
    /// Fails when the kernel's counters cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        self.tracer.summary()
    }

    /// Detaches and returns the final hit counts. Events that have not been read are discarded and
    /// count as delivered.
    ///
    /// # Errors
    ///
    /// Fails when a buffer or the kernel's counters cannot be read, and in a forked child of the
    /// process that attached.
    pub fn stop(self) -> Result<Summary> {
        self.tracer.stop()
    }
}

fn cannot_wait(source: io::Error) -> Error {
    Error::io("cannot wait for events", source)
}
