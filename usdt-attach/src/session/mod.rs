//! Sessions: a plan that is attached, from its creation until it is dropped; and the event loop over them.

mod event_loop;

use crate::backend::{Attachment, Backend, Counts};
use crate::error::{Error, Result};
use crate::event::counts::{Row, rows};
use crate::event::{Decoder, Event};
use crate::plan::Plan;
use serde::Serialize;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub use crate::backend::Mechanism;
#[cfg(feature = "tokio")]
pub(crate) use event_loop::Polled;
pub use event_loop::{Attacher, Batch, EventLoop};

/// Most records read in one batch, before the caller gets to look at signals and other descriptors again.
const BATCH: u32 = 8192;

/// An attached plan. Dropping it detaches.
#[derive(Debug)]
pub struct Session {
    plan: Arc<Plan>,
    decoder: Decoder,
    attachment: Box<dyn Attachment>,
    delivered: u64,
    /// Records beyond the limit.
    surplus: u64,
    /// Records that may still be read in this batch.
    batch_left: u32,
    /// The process that attached: a forked child that reads would take its parent's records.
    owner: u32,
}

/// Hit counts of a session: `hits == delivered + dropped + filtered`, after it is stopped and drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Times that a site was reached.
    pub hits: u64,
    /// Events lent to the caller, or hits that the kernel counted.
    pub delivered: u64,
    /// Events for which the buffer was full, or that came together with the last one of a limited session; counted hits
    /// for whose key the table was full, or whose key or value could not be read.
    pub dropped: u64,
    /// Hits that did not pass the filter, the sampling or the rate limit.
    pub filtered: u64,
    /// Starts and ends without a counterpart; `None` unless latencies are measured.
    #[serde(flatten)]
    pub unpaired: Option<Unpaired>,
}

/// Starts and ends of a latency without a counterpart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unpaired {
    /// Starts whose end has not come yet.
    pub unmatched_starts: u64,
    /// Ends without a start: the start was before the session, or filtered.
    pub unmatched_ends: u64,
    /// Starts that another start of the same key replaced before their end came.
    pub overwritten: u64,
}

impl Session {
    /// Attaches all sites of the plan, or none.
    ///
    /// # Errors
    ///
    /// As [`Backend::attach`].
    pub fn start(plan: impl Into<Arc<Plan>>, backend: &dyn Backend) -> Result<Session> {
        let plan = plan.into();
        let attachment = backend.attach(&plan)?;
        debug_event!(sites = plan.sites().len(), mechanism = ?attachment.mechanism(), "attached");
        Ok(Session {
            decoder: Decoder::new(Arc::clone(&plan)),
            attachment,
            plan,
            delivered: 0,
            surplus: 0,
            batch_left: 0,
            owner: std::process::id(),
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How the sites are attached.
    pub fn mechanism(&self) -> Mechanism {
        self.attachment.mechanism()
    }

    /// A descriptor that becomes readable when the event buffer is half full; `None` where the plan records no events.
    /// There are no per-event wakeups: call [`Session::drain`] every few milliseconds.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.attachment.fd()
    }

    /// Starts reading a batch of events, at most a few thousand.
    ///
    /// # Errors
    ///
    /// Fails in a forked child of the process that attached.
    pub fn events(&mut self) -> Result<Events<'_>> {
        self.begin_batch()?;
        Ok(Events { session: self })
    }

    /// Calls `on_event` with each event of a batch. Returns whether there may be more.
    ///
    /// # Errors
    ///
    /// As [`Session::events`] and [`Events::next`].
    pub fn drain(&mut self, mut on_event: impl FnMut(&Event<'_>)) -> Result<bool> {
        let mut events = self.events()?;
        while let Some(event) = events.next()? {
            on_event(&event);
        }
        Ok(events.may_have_more())
    }

    /// Fails in a forked child, which would take its parent's records.
    pub(crate) fn check_owner(&self) -> Result<()> {
        if std::process::id() == self.owner {
            return Ok(());
        }
        Err(Error::usage(format!(
            "this session belongs to process {}, of which this process is a forked child: attach anew",
            self.owner
        )))
    }

    pub(crate) fn begin_batch(&mut self) -> Result<()> {
        self.check_owner()?;
        self.decoder.clock_offset = clock_offset();
        self.attachment.release();
        self.batch_left = BATCH;
        Ok(())
    }

    /// Moves to the next record that is an event within the limit; false at the end of the batch.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        let limit = self.plan.limit.unwrap_or(u64::MAX);
        while self.batch_left > 0 && self.attachment.advance()? {
            self.batch_left -= 1;
            if self.delivered < limit && self.decoder.accepts(self.attachment.record()) {
                self.delivered += 1;
                return Ok(true);
            }
            self.surplus += 1;
        }
        self.attachment.release();
        Ok(false)
    }

    /// The event moved to.
    pub(crate) fn event(&self) -> Option<Event<'_>> {
        self.decoder.decode(self.attachment.record())
    }

    /// Whether the last batch ended by its size.
    pub(crate) fn may_have_more(&self) -> bool {
        self.batch_left == 0
    }

    /// The rows counted so far, most hits first.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn rows(&self) -> Result<Vec<Row>> {
        Session::rows_of([self])
    }

    /// The rows of several sessions with the same options, added up.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn rows_of<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> Result<Vec<Row>> {
        let mut parts = Vec::new();
        for session in sessions {
            parts.push((session, session.counts()?, session.attachment.table()?));
        }
        Ok(rows(
            parts.iter().map(|(s, counts, table)| (&*s.plan, counts.as_slice(), table.as_slice())),
        ))
    }

    /// Detaches. Events already recorded can still be drained.
    pub fn stop(&mut self) {
        self.attachment.stop();
    }

    /// Hit counts of each site so far, by cookie.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn counts(&self) -> Result<Vec<Counts>> {
        self.attachment.counts()
    }

    /// Runs of the session's BPF programs and the nanoseconds they took, counted only while a
    /// [`BpfStatsGuard`](crate::kernel::BpfStatsGuard) lives.
    ///
    /// # Errors
    ///
    /// Fails when the kernel does not report on its programs.
    pub fn run_time(&self) -> Result<(u64, u64)> {
        self.attachment.run_time()
    }

    /// Events lent to the caller so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Hit counts so far.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        let mut summary =
            Summary { delivered: self.delivered, dropped: self.surplus, ..Summary::default() };
        let mut unpaired = Unpaired::default();
        for counts in self.counts()? {
            summary.hits += counts.hits;
            summary.dropped += counts.dropped;
            summary.filtered += counts.filtered;
            unpaired.overwritten += counts.overwritten;
            unpaired.unmatched_ends += counts.unmatched;
        }
        if !self.plan.records() {
            summary.delivered = summary.hits.saturating_sub(summary.dropped + summary.filtered);
        }
        if self.plan.table.as_ref().is_some_and(|t| t.starts.is_some()) {
            unpaired.unmatched_starts = self.attachment.waiting()?;
            summary.unpaired = Some(unpaired);
        }
        Ok(summary)
    }
}

#[cfg(feature = "tracing")]
impl Drop for Session {
    fn drop(&mut self) {
        debug_event!(delivered = self.delivered, "the session ends");
    }
}

/// A batch of events of a session. Each event is lent until the next one is read.
#[derive(Debug)]
pub struct Events<'a> {
    session: &'a mut Session,
}

impl Events<'_> {
    /// The next event, in order; `None` at the end of the batch.
    ///
    /// This is no `Iterator`: an event borrows memory that is released when the next one is read.
    ///
    /// # Errors
    ///
    /// Fails when the event buffer cannot be read.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Event<'_>>> {
        if self.session.advance()? { Ok(self.session.event()) } else { Ok(None) }
    }

    /// Whether the batch ended by its size, so that there may be more events now.
    pub fn may_have_more(&self) -> bool {
        self.session.may_have_more()
    }
}

impl std::ops::Add for Summary {
    type Output = Summary;

    fn add(self, other: Summary) -> Summary {
        let unpaired = match (self.unpaired, other.unpaired) {
            (Some(a), Some(b)) => Some(Unpaired {
                unmatched_starts: a.unmatched_starts + b.unmatched_starts,
                unmatched_ends: a.unmatched_ends + b.unmatched_ends,
                overwritten: a.overwritten + b.overwritten,
            }),
            (a, b) => a.or(b),
        };
        Summary {
            hits: self.hits + other.hits,
            delivered: self.delivered + other.delivered,
            dropped: self.dropped + other.dropped,
            filtered: self.filtered + other.filtered,
            unpaired,
        }
    }
}

/// What to add to CLOCK_MONOTONIC to get CLOCK_REALTIME, in nanoseconds.
fn clock_offset() -> i64 {
    let now = |clock| {
        let time = rustix::time::clock_gettime(clock);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    now(rustix::time::ClockId::Realtime) - now(rustix::time::ClockId::Monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::simulated::Simulated;
    use crate::error::ErrorKind;

    #[test]
    fn rejects_reading_by_a_forked_child() {
        let mut session = Session::start(Plan::default(), &Simulated::default()).unwrap();
        assert!(session.events().is_ok());
        // As it is in a child: the memory is a copy, the process another one.
        session.owner += 1;
        let error = session.events().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("forked child"), "{error}");
    }
}
