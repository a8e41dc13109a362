//! A tracer in a tokio runtime.
#![allow(unsafe_code)] // tokio wants a promise about the descriptor

use super::Tracer;
use crate::error::{Error, Result, Warning};
use crate::session::{Batch, Polled, Summary};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use tokio::io::unix::AsyncFd;

/// A [`Tracer`] whose batches are awaited.
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
#[derive(Debug)]
pub struct AsyncTracer {
    /// Before the tracer, so that the runtime forgets the descriptor first.
    readable: AsyncFd<OwnedFd>,
    tracer: Tracer,
}

impl Tracer {
    /// Registers the tracer with the current tokio runtime, which needs its I/O and time drivers.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime, and in one without an I/O driver.
    ///
    /// # Errors
    ///
    /// Fails when the descriptor cannot be duplicated or registered.
    pub fn into_async(self) -> Result<AsyncTracer> {
        let failed = |source| Error::io("cannot wait for events", source);
        let fd = self.event_loop.as_fd().try_clone_to_owned().map_err(failed)?;
        // SAFETY: the descriptor is a duplicate that only the `AsyncFd` owns, so it stays open while registered.
        let readable = unsafe { AsyncFd::register(fd) }.map_err(|error| failed(error.into()))?;
        Ok(AsyncTracer { readable, tracer: self })
    }
}

impl AsyncTracer {
    /// The next batch of events, which is not empty; `None` once the target has ended or the limit is reached. Cancel
    /// safe: no event is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// As [`Tracer::poll`].
    pub async fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        loop {
            match self.tracer.event_loop.poll_event()? {
                Polled::Event => return Ok(Some(self.tracer.event_loop.batch())),
                Polled::Finished => return Ok(None),
                Polled::Empty => self.wait().await?,
            }
        }
    }

    async fn wait(&self) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(self.tracer.timeout()) => {}
            ready = self.readable.readable() => {
                ready.map_err(|source| Error::io("cannot wait for events", source))?.clear_ready();
            }
        }
        Ok(())
    }

    /// As [`Tracer::take_warnings`].
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.tracer.take_warnings()
    }

    /// As [`Tracer::command`].
    pub fn command(&mut self) -> Option<&mut Child> {
        self.tracer.command()
    }

    /// As [`Tracer::summary`].
    ///
    /// # Errors
    ///
    /// As [`Tracer::summary`].
    pub fn summary(&self) -> Result<Summary> {
        self.tracer.summary()
    }

    /// As [`Tracer::stop`].
    ///
    /// # Errors
    ///
    /// As [`Tracer::stop`].
    pub fn stop(self) -> Result<Summary> {
        self.tracer.stop()
    }
}
