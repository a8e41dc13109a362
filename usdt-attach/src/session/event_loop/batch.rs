//! Batches: the events of all sessions in the order of their times.

use super::{EventLoop, State};
use crate::error::Result;
use crate::event::Event;
use crate::own_probes;
use crate::session::Session;
#[cfg(feature = "tokio")]
use std::time::Duration;

/// The next event of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// It is not known yet.
    Unknown,
    /// The session has moved to an event of this time.
    Event(u64),
    /// There is none in this batch.
    End,
}

/// What [`EventLoop::poll_event`] found.
#[cfg(feature = "tokio")]
pub(crate) enum PollOutcome {
    Event,
    Empty,
    Finished,
}

impl EventLoop {
    /// Moves the batch to its next event, the earliest one of all sessions. Returns false at the end
    /// of the batch.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let mut first: Option<(u64, usize)> = None;
        for (index, (session, head)) in self.sessions.iter_mut().zip(&mut self.heads).enumerate() {
            if *head == Head::Unknown {
                *head = if session.advance()? {
                    Head::Event(session.time())
                } else {
                    if session.may_have_more() {
                        // Its next events come with the next batch, before later ones of others.
                        self.may_have_more = true;
                        self.batch_end = self.batch_end.min(self.last_time);
                    } else if self.state != State::Draining {
                        // A record that is being written holds later ones of its session back, which
                        // must not come after later ones of others.
                        self.batch_end = self.batch_end.min(session.read_up_to());
                    }
                    Head::End
                };
            }
            if let Head::Event(time) = *head
                && time <= self.batch_end
                && first.is_none_or(|(earliest, _)| time < earliest)
            {
                first = Some((time, index));
            }
        }
        let first = first.filter(|(time, _)| *time <= self.batch_end);
        self.batch_is_read = first.is_none();
        let Some((time, index)) = first else {
            if self.batch_events > 0 {
                own_probes::drain(std::mem::take(&mut self.batch_events), self.batch_began);
            }
            return Ok(false);
        };
        self.batch_events += 1;
        self.last_time = time;
        if let Some(head) = self.heads.get_mut(index) {
            *head = Head::Unknown;
        }
        self.batch_session = index;
        Ok(true)
    }

    /// Starts a batch without waiting, and reports whether it has an event.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_event(&mut self) -> Result<PollOutcome> {
        if self.has_peeked {
            return Ok(PollOutcome::Event);
        }
        let Some(batch) = self.poll(Duration::ZERO)? else { return Ok(PollOutcome::Finished) };
        batch.event_loop.has_peeked = batch.event_loop.advance()?;
        Ok(if batch.event_loop.has_peeked { PollOutcome::Event } else { PollOutcome::Empty })
    }

    /// The batch that [`EventLoop::poll_event`] has started.
    #[cfg(feature = "tokio")]
    pub(crate) fn batch(&mut self) -> Batch<'_> {
        Batch { event_loop: self }
    }
}

/// A batch of events, which [`Tracer::poll`](crate::Tracer::poll) or [`EventLoop::poll`] returns.
///
/// Events that the caller does not read are part of the next batch.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) event_loop: &'a mut EventLoop,
}

impl Batch<'_> {
    /// Returns the sessions that were attached since the last call. Events of this batch may be the
    /// first ones of them.
    pub fn new_sessions(&mut self) -> &[Session] {
        let event_loop = &mut *self.event_loop;
        let first = std::mem::replace(&mut event_loop.announced, event_loop.sessions.len());
        event_loop.sessions.get(first..).unwrap_or_default()
    }

    /// Returns the next event, or `None` at the end of the batch. Events of all sessions are in the
    /// order of their times.
    ///
    /// `Batch` is not an [`Iterator`], because an event borrows buffer memory that is released when
    /// the next event is read.
    ///
    /// # Errors
    ///
    /// Fails when an event buffer cannot be read.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Event<'_>>> {
        let event_loop = &mut *self.event_loop;
        if !std::mem::take(&mut event_loop.has_peeked) && !event_loop.advance()? {
            return Ok(None);
        }
        Ok(event_loop.sessions.get(event_loop.batch_session).and_then(Session::event))
    }
}
