//! A running trace: attached on creation, detached when dropped.

use crate::backend::Choice;
use crate::backend::kernel::{Attached, Counts, Maps, Ring, attach, silence_libbpf};
use crate::error::{Error, Result};
use crate::event::{Decoder, Event};
use crate::plan::Plan;
use serde::Serialize;
use std::os::fd::BorrowedFd;

pub use crate::backend::kernel::Mechanism;

/// A plan that is being carried out.
pub struct Session<'p> {
    decoder: Decoder<'p>,
    /// `None` once stopped.
    attached: Option<Attached>,
    mechanism: Mechanism,
    ring: Ring,
    maps: Maps,
    delivered: u64,
    /// Records beyond the limit.
    surplus: u64,
    limit: u64,
}

/// The account of a session: `hits == delivered + dropped + filtered`, once it is stopped and drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Times a site was reached.
    pub hits: u64,
    /// Events handed to the caller.
    pub delivered: u64,
    /// Events that found the buffer full, or came together with the last one of a limited session.
    pub dropped: u64,
    /// Hits the filter turned away.
    pub filtered: u64,
}

impl<'p> Session<'p> {
    /// Attaches all sites of the plan, or none.
    pub fn start(plan: &'p Plan, backend: Choice, mechanism: Mechanism) -> Result<Session<'p>> {
        silence_libbpf();
        let backend = backend.backend()?;
        let maps = Maps::create(plan)?;
        let programs = backend.build(plan, &maps.fds())?;
        let ring_fd = maps
            .ring
            .try_clone()
            .map_err(|source| Error::Io { what: "cannot share the event buffer", source })?;
        let ring = Ring::new(ring_fd)?;
        let attached = attach(plan, &programs, mechanism)?;
        let mechanism = attached.mechanism;
        Ok(Session {
            decoder: Decoder::new(plan),
            attached: Some(attached),
            mechanism,
            ring,
            maps,
            delivered: 0,
            surplus: 0,
            limit: plan.limit.unwrap_or(u64::MAX),
        })
    }

    /// How the sites are attached.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// A descriptor that becomes readable when the buffer is half full. Events below that wake nobody: call
    /// [`Session::drain`] every few milliseconds.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }

    /// Hands over the events that are there, up to a batch. Returns whether there may be more.
    pub fn drain(&mut self, mut on_event: impl FnMut(&Event<'_>)) -> Result<bool> {
        self.decoder.clock_offset = clock_offset();
        let decoder = &self.decoder;
        let (delivered, surplus, limit) = (&mut self.delivered, &mut self.surplus, self.limit);
        self.ring.consume(&mut |record| match decoder.decode(record) {
            Some(event) if *delivered < limit => {
                *delivered += 1;
                on_event(&event);
            }
            _ => *surplus += 1,
        })
    }

    /// Detaches. Events already recorded can still be drained.
    pub fn stop(&mut self) {
        self.attached = None;
    }

    /// Hits so far, by site.
    pub fn counts(&self) -> Result<Vec<Counts>> {
        self.maps.counts()
    }

    /// Events handed to the caller so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The account so far.
    pub fn summary(&self) -> Result<Summary> {
        let mut summary = Summary { delivered: self.delivered, dropped: self.surplus, ..Summary::default() };
        for counts in self.counts()? {
            summary.hits += counts.hits;
            summary.dropped += counts.dropped;
            summary.filtered += counts.filtered;
        }
        Ok(summary)
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
