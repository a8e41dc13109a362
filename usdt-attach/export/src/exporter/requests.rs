//! Requests to the exporter's loop from other threads, and answering them within long operations.
//!
//! Attaching to many files, or detaching from them, takes seconds. Between its steps, the loop
//! answers scrapes and notices that it is to stop. What takes longer than a scrape waits is bridged
//! by the snapshot that the loop publishes before it.

use super::Exporter;
use crate::endpoint::scrape::Responder;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use usdt_attach::error::Result;

/// How old a snapshot may be when a long operation begins.
const MAX_SNAPSHOT_AGE: Duration = Duration::from_secs(1);

/// What the loop waits for.
pub(super) enum Event {
    /// Prometheus scrapes the endpoint.
    Scrape(Responder),
    /// A thread has a message for the user.
    Report(String),
    /// The configuration is to be reloaded.
    Reload,
    Stop,
}

/// Controls an [`Exporter`] from other threads, also while it starts.
#[derive(Clone, Debug)]
pub struct ExporterHandle(Sender<Event>);

impl ExporterHandle {
    /// Creates a handle, and the requests by which it controls the exporter that gets them.
    #[must_use]
    pub fn new() -> (ExporterHandle, Requests) {
        let (sender, receiver) = channel();
        let requests = Requests {
            sender: sender.clone(),
            receiver,
            deferred: VecDeque::new(),
            is_stopping: false,
        };
        (ExporterHandle(sender), requests)
    }

    /// Reloads the configuration from its file. An invalid configuration is reported and changes
    /// nothing.
    pub fn reload(&self) {
        // Fails if the exporter has ended.
        let _ = self.0.send(Event::Reload);
    }

    /// Stops the exporter: it detaches, sends what is left, and [`Exporter::run`] returns. An
    /// exporter that starts attaches to no further file.
    pub fn stop(&self) {
        let _ = self.0.send(Event::Stop);
    }
}

/// The requests of an [`ExporterHandle`] and of the exporter's own threads.
pub struct Requests {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    /// Those that came within a long operation and wait for its end.
    deferred: VecDeque<Event>,
    is_stopping: bool,
}

impl Requests {
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// True once the exporter is to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Waits for the next request.
    pub(super) fn next(&mut self, timeout: Duration) -> Option<Event> {
        let deferred = self.deferred.pop_front();
        deferred.or_else(|| self.receiver.recv_timeout(timeout).ok())
    }

    /// Returns the scrapes that wait. Other requests are deferred; several reloads are one.
    fn take_scrapes(&mut self) -> Vec<Responder> {
        let mut scrapes = Vec::new();
        while let Ok(event) = self.receiver.try_recv() {
            match event {
                Event::Scrape(responder) => scrapes.push(responder),
                Event::Stop => self.is_stopping = true,
                Event::Reload
                    if self.deferred.iter().any(|other| matches!(other, Event::Reload)) => {}
                event @ (Event::Reload | Event::Report(_)) => self.deferred.push_back(event),
            }
        }
        scrapes
    }
}

impl Exporter<'_> {
    /// Answers what cannot wait. Called between the steps of a long operation.
    pub(super) fn stay_responsive(&mut self) -> Result<()> {
        self.heartbeat.beat();
        let scrapes = self.requests.take_scrapes();
        self.answer(scrapes)
    }

    /// Answers scrapes with all hits up to now. Those of clients that have gone are ignored.
    pub(super) fn answer(&mut self, mut scrapes: Vec<Responder>) -> Result<()> {
        scrapes.retain(|responder| !responder.is_closed());
        if scrapes.is_empty() {
            return Ok(());
        }
        let families = Arc::new(self.families()?);
        let mut is_late = false;
        for responder in scrapes {
            // Fails if the endpoint has answered meanwhile, or has been closed.
            is_late |= responder.send(Arc::clone(&families)).is_err();
        }
        if is_late {
            // Otherwise, scrapes of an exporter that always collects for longer than they wait would
            // show the same snapshot forever.
            self.snapshot.publish(&families);
        }
        Ok(())
    }

    /// Publishes a snapshot unless there is a recent one. Called before a long operation.
    pub(super) fn publish_snapshot(&mut self) -> Result<()> {
        if self.settings.config.prometheus.is_some()
            && self.snapshot.age().is_none_or(|age| age > MAX_SNAPSHOT_AGE)
        {
            let families = self.families()?;
            self.snapshot.publish(&families);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[test]
    fn defers_reloads_and_messages_but_not_scrapes_and_the_end() {
        let (handle, mut requests) = ExporterHandle::new();
        let (responder, _scrape) = oneshot::channel();
        handle.reload();
        handle.reload();
        requests.sender().send(Event::Report("a".to_owned())).unwrap();
        requests.sender().send(Event::Scrape(responder)).unwrap();
        assert_eq!(requests.take_scrapes().len(), 1);
        assert!(!requests.is_stopping());
        handle.stop();
        assert_eq!(requests.take_scrapes().len(), 0);
        assert!(requests.is_stopping());
        assert!(matches!(requests.next(Duration::ZERO), Some(Event::Reload)));
        assert!(matches!(requests.next(Duration::ZERO), Some(Event::Report(_))));
        assert!(requests.next(Duration::ZERO).is_none());
    }
}
