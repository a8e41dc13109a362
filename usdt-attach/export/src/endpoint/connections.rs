//! The connections of the endpoint: a limited number, so that clients cannot use up file
//! descriptors and memory.
//!
//! A new connection is always admitted, except in a flood: if all slots are taken, the oldest
//! connection that has not sent its request is closed. Clients that connect and send nothing, or
//! that read slowly, therefore only displace each other. A client that sends its request at once is
//! not displaced: every connection has a moment to do so, for which a new one waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The maximum number of connections, if there are enough file descriptors.
const MAX_CONNECTIONS: u64 = 128;
/// How long a connection that receives its answer is never closed in favor of a new one.
pub(crate) const MIN_ANSWER_TIME: Duration = Duration::from_millis(500);

/// How long a connection that has not sent its request is never closed in favor of a new one.
pub(crate) const MIN_REQUEST_TIME: Duration = Duration::from_millis(50);

/// Locks a mutex. A panic of another holder leaves the data of this module consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, from the point of view of the limit.
#[derive(Debug)]
pub(crate) struct Slot {
    opened: Instant,
    /// Milliseconds from `opened` to the time the request was complete; `u64::MAX` before.
    requested: AtomicU64,
    closed: Notify,
}

impl Slot {
    fn new() -> Slot {
        Slot { opened: Instant::now(), requested: AtomicU64::new(u64::MAX), closed: Notify::new() }
    }

    /// Records that the request is complete.
    pub(crate) fn set_requested(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.requested.store(elapsed, Relaxed);
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        self.closed.notify_one();
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// How long the request has been complete; `None` before.
    fn answering_for(&self) -> Option<Duration> {
        let requested = self.requested.load(Relaxed);
        (requested != u64::MAX)
            .then(|| self.opened.elapsed().saturating_sub(Duration::from_millis(requested)))
    }
}

/// Why a connection is not admitted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// All connections have just sent a request.
    Answering,
    /// All other connections are new. One of them may be closed after this time.
    TooNew(Duration),
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    /// By number, in the order in which they were opened.
    open: Mutex<(u64, BTreeMap<u64, Arc<Slot>>)>,
}

/// A place among the connections, which is released when this is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Arc<Connections>,
    number: u64,
    pub(crate) slot: Arc<Slot>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.connections.open).1.remove(&self.number);
    }
}

impl Connections {
    /// Creates a limit that leaves most file descriptors of the process to others.
    pub(crate) fn new() -> Connections {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let max = descriptors.map_or(MAX_CONNECTIONS, |n| (n / 8).clamp(8, MAX_CONNECTIONS));
        Connections::with_max(usize::try_from(max).unwrap_or(8))
    }

    fn with_max(max: usize) -> Connections {
        Connections { max, open: Mutex::default() }
    }

    /// Admits a new connection.
    pub(crate) fn admit(self: &Arc<Connections>) -> Result<Admission, Refusal> {
        let mut open = lock(&self.open);
        let (next, slots) = &mut *open;
        if slots.len() >= self.max {
            let waiting = slots.iter().find(|(_, slot)| slot.answering_for().is_none());
            let slow = || {
                let answers = slots.iter().filter_map(|(n, slot)| Some((slot.answering_for()?, n)));
                answers.max().filter(|(time, _)| *time >= MIN_ANSWER_TIME).map(|(_, n)| n)
            };
            if let Some((_, slot)) = waiting
                && let Some(pause) = MIN_REQUEST_TIME.checked_sub(slot.opened.elapsed())
            {
                return Err(Refusal::TooNew(pause));
            }
            let number = waiting.map(|(number, _)| number).or_else(slow).copied();
            let number = number.ok_or(Refusal::Answering)?;
            if let Some(slot) = slots.remove(&number) {
                slot.close();
            }
        }
        let number = *next;
        *next += 1;
        let slot = Arc::new(Slot::new());
        slots.insert(number, Arc::clone(&slot));
        Ok(Admission { connections: Arc::clone(self), number, slot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_displaces_the_oldest_without_a_request() {
        let connections = Arc::new(Connections::with_max(2));
        let answering = connections.admit().unwrap();
        answering.slot.set_requested();
        let idle = connections.admit().unwrap();
        assert!(matches!(connections.admit(), Err(Refusal::TooNew(_))), "it may send its request");
        std::thread::sleep(MIN_REQUEST_TIME);
        let new = connections.admit().unwrap();
        let numbers = || lock(&connections.open).1.keys().copied().collect::<Vec<_>>();
        assert_eq!(numbers(), [answering.number, new.number]);
        drop(idle);
        assert_eq!(numbers(), [answering.number, new.number]);
        new.slot.set_requested();
        assert!(matches!(connections.admit(), Err(Refusal::Answering)), "both are being answered");
        std::thread::sleep(MIN_ANSWER_TIME);
        let next = connections.admit().unwrap();
        assert_eq!(numbers(), [new.number, next.number], "the oldest answer takes too long");
    }

    #[test]
    fn a_closed_connection_releases_its_place() {
        let connections = Arc::new(Connections::with_max(1));
        for _ in 0..3 {
            let one = connections.admit().unwrap();
            one.slot.set_requested();
        }
    }
}
