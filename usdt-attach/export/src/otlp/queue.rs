//! The queue of requests to a collector. It is bounded in bytes, because requests differ in size by
//! a factor of thousands.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The maximum size in bytes of all requests that wait.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// The maximum number of requests that wait: the queue of small requests has overhead, too.
const MAX_REQUESTS: usize = 1024;

/// A request to the collector.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: &'static str,
    pub(super) body: Vec<u8>,
    /// The number of spans in the body.
    pub(super) spans: usize,
}

/// A queue between the exporter's loop and the sending thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<Request>,
    bytes: usize,
    /// Set when the queue is closed: until when the requests that wait are sent.
    deadline: Option<Instant>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request. Returns the requests that are lost because the queue is full: the oldest,
    /// which are worth the least.
    pub(super) fn push(&self, request: Request) -> Vec<Request> {
        let mut state = self.lock();
        let mut lost = Vec::new();
        if state.deadline.is_some() || request.body.len() > MAX_BYTES {
            return vec![request];
        }
        state.bytes += request.body.len();
        state.requests.push_back(request);
        while state.bytes > MAX_BYTES || state.requests.len() > MAX_REQUESTS {
            let Some(oldest) = state.requests.pop_front() else { break };
            state.bytes -= oldest.body.len();
            lost.push(oldest);
        }
        drop(state);
        self.changed.notify_all();
        lost
    }

    /// Waits for the next request. `None` if the queue is closed and is empty or its deadline is
    /// over.
    pub(super) fn pop(&self) -> Option<Request> {
        let mut state = self.lock();
        loop {
            if state.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            if let Some(request) = state.requests.pop_front() {
                state.bytes -= request.body.len();
                return Some(request);
            }
            if state.deadline.is_some() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until `time`, or until the queue is closed. Returns whether it is closed.
    pub(super) fn wait_until(&self, time: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let rest = time.saturating_duration_since(Instant::now());
            if state.deadline.is_some() || rest.is_zero() {
                return state.deadline.is_some();
            }
            state =
                self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Closes the queue: requests that wait are sent until `deadline`, further ones are lost.
    pub(super) fn close(&self, deadline: Instant) {
        self.lock().deadline = Some(deadline);
        self.changed.notify_all();
    }

    /// The time until which requests are sent; `None` while the queue is open.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline
    }

    /// Removes the requests that wait.
    pub(super) fn drain(&self) -> Vec<Request> {
        let mut state = self.lock();
        state.bytes = 0;
        state.requests.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request(size: usize, spans: usize) -> Request {
        Request { path: "/", body: vec![0; size], spans }
    }

    #[test]
    fn a_full_queue_loses_its_oldest_requests() {
        let queue = Queue::default();
        for n in 0..4 {
            assert_eq!(queue.push(request(MAX_BYTES / 4, n)), []);
        }
        let lost: Vec<usize> = queue.push(request(1, 4)).iter().map(|r| r.spans).collect();
        assert_eq!(lost, [0]);
        let lost: Vec<usize> = queue.push(request(MAX_BYTES, 5)).iter().map(|r| r.spans).collect();
        assert_eq!(lost, [1, 2, 3, 4]);
        assert_eq!(queue.push(request(MAX_BYTES + 1, 6)).len(), 1, "the request itself is lost");
        assert_eq!(queue.pop().map(|r| r.spans), Some(5));
        for n in 0..MAX_REQUESTS {
            assert_eq!(queue.push(request(0, n)), []);
        }
        assert_eq!(queue.push(request(0, 0)).len(), 1);
    }

    #[test]
    fn a_closed_queue_is_emptied_until_its_deadline() {
        let queue = Queue::default();
        queue.push(request(1, 1));
        queue.push(request(1, 2));
        queue.close(Instant::now() + Duration::from_secs(60));
        assert_eq!(queue.push(request(1, 3)).len(), 1);
        assert_eq!(queue.pop().map(|r| r.spans), Some(1));
        assert!(queue.wait_until(Instant::now() + Duration::from_secs(60)));
        queue.close(Instant::now());
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.drain().len(), 1);
    }
}
