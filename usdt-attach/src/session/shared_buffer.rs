//! An event buffer that several sessions share.

use super::{MAX_BATCH, Session};
use crate::backend::{Backend, Share};
use crate::bpf::cpu_ring_format::MIN_CAPACITY;
use crate::bpf::cpus::cpu_ids_end;
use crate::error::Result;
use crate::event::Event;
use crate::kernel::{SharedRings, clock};
use crate::plan::Plan;
use std::collections::HashMap;
use std::sync::Arc;

/// An event buffer that several sessions share: a ring for each CPU. The events of all sessions come in
/// the order of their times.
#[derive(Debug)]
pub struct SharedBuffer {
    rings: SharedRings,
    /// The number of the last session.
    last_number: u32,
    /// When each session was first seen to have detached, by number.
    detached_at: HashMap<u32, u64>,
    /// Up to this time, all events have been read; 0 if that is not known.
    read_up_to: u64,
}

impl SharedBuffer {
    /// Returns the smallest size in bytes of a buffer for the CPUs of this machine.
    pub fn min_size() -> u32 {
        let cpus = cpu_ids_end().unwrap_or(1);
        cpus.checked_mul(MIN_CAPACITY).and_then(u32::checked_next_power_of_two).unwrap_or(u32::MAX)
    }

    /// Creates a buffer of `bytes`, a power of two. `None` if the kernel lacks what it needs (Linux
    /// 6.10 with BTF), or if it is smaller than [`SharedBuffer::min_size`].
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects a map, and when this process lacks a privilege.
    pub fn new(bytes: u32) -> Result<Option<SharedBuffer>> {
        let rings = SharedRings::create(bytes)?;
        Ok(rings.map(|rings| SharedBuffer {
            rings,
            last_number: 0,
            detached_at: HashMap::new(),
            read_up_to: 0,
        }))
    }

    /// Attaches every site of the plan, or none. The events come from [`SharedBuffer::drain`], but for
    /// plans with very long records: these have a buffer of their own, which [`Session::drain`] reads.
    ///
    /// # Errors
    ///
    /// Fails as [`Session::start`] does.
    pub fn start(&mut self, plan: impl Into<Arc<Plan>>, backend: &dyn Backend) -> Result<Session> {
        // 0 is that of rings that are not shared.
        self.last_number = self.last_number.wrapping_add(1).max(1);
        let share = Share { rings: &self.rings, session: self.last_number };
        Session::attach(plan.into(), backend, Some(share))
    }

    /// Calls `on_event` with each event of the next batch, which has at most 8,192 events. `sessions` are
    /// all that share the buffer; others are ignored. Returns true if the batch reached that size, so that
    /// more events may be waiting.
    ///
    /// # Errors
    ///
    /// Fails when the event buffer cannot be read, and in a forked child of the process that attached.
    pub fn drain<'s>(
        &mut self,
        sessions: impl IntoIterator<Item = &'s mut Session>,
        mut on_event: impl FnMut(&Event<'_>),
    ) -> Result<bool> {
        let began = clock::monotonic_nanoseconds();
        // One for all sessions, or their events would not be in order.
        let clock_offset = clock::realtime_offset();
        let (mut by_number, mut detached) = (HashMap::new(), HashMap::new());
        for session in sessions {
            let Some(number) = session.shared_number else { continue };
            session.check_owner()?;
            session.receiver.decoder.clock_offset = clock_offset;
            if session.has_detached() {
                let known = self.detached_at.get(&number).copied();
                detached.insert(number, known.unwrap_or(began));
            }
            by_number.insert(number, session);
        }
        self.rings.set_has_writers(detached.len() < by_number.len());
        let mut left = MAX_BATCH;
        while left > 0 && self.rings.advance()? {
            left -= 1;
            let (number, record) = self.rings.record();
            if let Some(Session { receiver, .. }) = by_number.get_mut(&number)
                && receiver.take(record)
                && let Some(event) = receiver.event(record)
            {
                on_event(&event);
            }
        }
        self.rings.release();
        self.detached_at = detached;
        self.read_up_to = if left > 0 { self.rings.read_up_to() } else { 0 };
        Ok(left == 0)
    }

    /// Returns true if a session has detached and all of its events have been read, also if it does not
    /// share the buffer.
    pub fn is_read(&self, session: &Session) -> bool {
        session.has_detached()
            && session.shared_number.is_none_or(|number| {
                self.detached_at.get(&number).is_some_and(|time| *time <= self.read_up_to)
            })
    }

    /// Returns the number of events that came after one with a later time.
    pub fn out_of_order(&self) -> u64 {
        self.rings.out_of_order()
    }
}
