//! Handlers: what a BPF program does on a hit of a site.
//!
//! A handler reads the arguments that its filter and keys need, evaluates the filter, and carries
//! out its action.
//!
//! # Frame layout
//!
//! The arguments are read into a *frame*, a part of the program's stack:
//!
//! ```text
//!  0  u32 unused    8  argument slots, then copied strings, then the keys and values of maps
//!  4  u32 fault bits
//! ```
//!
//! The frame is filled in two steps: before the filter what the filter needs, after it what only
//! hits that passed need. A record has a region of its own; see
//! [`record_layout`](super::record_layout).

use super::condition::Condition;
use super::nesting::Nesting;
use super::reads::{ArgSlot, ReadOp};
use super::record_layout::Layout;
use serde::Serialize;

/// What a BPF program does on a hit. Sites that do the same share a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Handler {
    /// True if the site is the branch of a function's stack check. Hits on the taken branch are
    /// ignored: the prologue runs again after the stack has grown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stack_check: bool,
    /// The frame for the filter and the keys; records do not use it.
    pub frame: Frame,
    /// The condition that a hit must meet; `None` takes every hit.
    pub filter: Option<Condition>,
    /// Index of the probe whose hits share a rate limit; `None` without a limit.
    pub rate: Option<u32>,
    /// What to do with a hit that passed.
    pub action: Action,
}

impl Handler {
    /// Returns true if the handler brings strings into memory, where the kernel lets it sleep.
    pub(crate) fn faults_in(&self) -> bool {
        let reads = match &self.action {
            Action::Record(layout) => layout.reads.as_slice(),
            _ => &[],
        };
        let mut reads = self.frame.filter_reads.iter().chain(&self.frame.action_reads).chain(reads);
        reads.any(|read| matches!(read, ReadOp::String { fault_in: true, .. }))
            || self.filter.as_ref().is_some_and(Condition::faults_in)
    }
}

/// The part of the BPF stack into which arguments are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Frame {
    /// Size in bytes, a multiple of 8; 0 if nothing is read.
    pub size: u32,
    /// Operations before the filter is evaluated.
    pub filter_reads: Vec<ReadOp>,
    /// Operations for hits that passed the filter.
    pub action_reads: Vec<ReadOp>,
    /// Fault bits of the reads that the action needs. If one is set, the hit is dropped.
    pub required: u32,
}

/// What to do with a hit that passed the filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Writes a record to the event buffer.
    Record(Layout),
    /// Does nothing more: every hit is counted anyway.
    Count,
    /// Adds to the entry of a key in the table.
    Aggregate {
        key: FrameRegion,
        /// The value to add to a histogram; `None` increments a count.
        value: Option<ArgSlot>,
    },
    /// Saves the time of a start under a key.
    Start {
        /// With nesting, 8 bytes for the slot follow in the frame.
        key: FrameRegion,
        /// True if the key is a call frame. A start that is not taken then removes one with the same
        /// key, which belongs to a call that has been unwound.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_frame: bool,
        /// The time, then the label fields to keep for the end; with nesting, then the level.
        saved: FrameRegion,
        /// `None` if a start replaces an earlier one with the same key.
        nesting: Option<Nesting>,
    },
    /// Adds the time since the start to a histogram in the table.
    End {
        /// The key of the start. With nesting, 8 bytes for the slot and 8 for the level follow in
        /// the frame.
        start: FrameRegion,
        /// As for the start: an end that is not taken removes its start.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_frame: bool,
        /// The key in the table.
        key: FrameRegion,
        /// Size in bytes of the label fields kept from the start. They are the last part of the key
        /// in the table.
        kept: u32,
        /// As for the start.
        nesting: Option<Nesting>,
    },
}

impl Action {
    /// Returns the key of a start or an end if it is a call frame.
    pub(crate) fn frame_key(&self) -> Option<&FrameRegion> {
        match self {
            Action::Start { key, is_frame: true, .. }
            | Action::End { start: key, is_frame: true, .. } => Some(key),
            _ => None,
        }
    }

    /// Returns true if sampling and rate limits apply: calls are sampled at their entries, not at their returns.
    pub(crate) fn is_sampled(&self) -> bool {
        !matches!(self, Action::End { is_frame: true, .. })
    }
}

/// A part of the frame with a key or a value, filled just before it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct FrameRegion {
    /// Offset in the frame.
    pub at: u32,
    /// Size in bytes, a multiple of 8.
    pub size: u32,
    /// The fields to write. Strings and thread names are read into place and need no write.
    pub writes: Vec<KeyWrite>,
}

/// Writes 8 bytes of a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyWrite {
    /// Writes a number at an offset in the frame.
    Constant { to: u32, value: u32 },
    /// Writes the value of a slot, sign-extended if it is signed, at an offset in the frame.
    Slot { to: u32, from: ArgSlot },
    /// Writes the difference of two slots at an offset in the frame.
    Difference { to: u32, from: ArgSlot, subtract: ArgSlot },
}
