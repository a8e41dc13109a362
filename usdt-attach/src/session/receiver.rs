//! Receiving records: those within the limit become events, with the strings that programs could not
//! read.

use crate::event::constants::Constants;
use crate::event::{Decoder, Event};
use crate::plan::Plan;
use std::sync::Arc;

/// Receives the records of a session.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) decoder: Decoder,
    /// Strings that BPF programs could not read.
    constants: Constants,
    /// The current record with such strings; `None` if it is as recorded.
    completed: Option<Vec<u8>>,
    /// The number of events at most.
    limit: u64,
    /// Events lent to the caller.
    pub(super) delivered: u64,
    /// Records beyond the limit, which are discarded and count as dropped.
    pub(super) surplus: u64,
}

impl Receiver {
    pub(super) fn new(plan: &Arc<Plan>) -> Receiver {
        Receiver {
            decoder: Decoder::new(Arc::clone(plan)),
            constants: Constants::default(),
            completed: None,
            limit: plan.limit.unwrap_or(u64::MAX),
            delivered: 0,
            surplus: 0,
        }
    }

    /// Takes the next record. Returns false if it is beyond the limit, or if the plan does not describe
    /// it.
    pub(super) fn take(&mut self, record: &[u8]) -> bool {
        if self.delivered >= self.limit || !self.decoder.accepts(record) {
            self.surplus += 1;
            return false;
        }
        self.delivered += 1;
        self.completed = self.decoder.complete(record, &mut self.constants);
        true
    }

    /// Returns the event of the record that was taken last.
    pub(super) fn event<'s>(&'s self, record: &'s [u8]) -> Option<Event<'s>> {
        self.decoder.decode(self.completed.as_deref().unwrap_or(record))
    }
}
