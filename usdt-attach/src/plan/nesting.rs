//! Nested calls: which starts of a goroutine or a thread are kept, and where.
//!
//! The starts of one goroutine or thread are a stack: an end belongs to the innermost start that is
//! open. The outermost start is in the map of starts, together with the number of starts nested in
//! it. So a call that has no others nested in it takes no more map operations than without nesting.
//! The nested starts are in a map of their own:
//!
//! ```text
//! starts:  key of the start            -> u64 time, labels, u64 number of nested starts
//! nested:  key of the start, u64 slot  -> u64 time, labels, u64 level
//! ```
//!
//! The level of the outermost start is 0. The outermost 16 levels have a slot each. The levels
//! above share 16 slots in turn, so of these the innermost 16 are kept. An end finds the level of
//! its start in the slot, or else its start was replaced by one that was nested more deeply.
//!
//! Starts whose end never comes, as after a panic or a `longjmp`, stay at the bottom of the stack.
//! The calls above still pair, however many of them there are.

use super::handler::{Action, FrameRegion, HandlerBuilder, KeyWrite};
use super::table::Field;
use crate::filter::Subject;
use serde::Serialize;

/// Number of the outermost levels with a slot of their own.
pub(crate) const OUTERMOST: u32 = 16;
/// Number of the innermost levels that are kept in addition; a power of two.
pub(crate) const INNERMOST: u32 = 16;
/// Number of nested calls of one goroutine or thread that a latency can measure. If calls are
/// nested more deeply, those in the middle are lost and counted.
pub const MAX_NESTED_CALLS: u32 = OUTERMOST + INNERMOST;

/// The starts with the same key are a stack, as the module describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Nesting {
    /// Fault bits of the label fields. If one is set, the hit is dropped after it has changed the
    /// stack, so that the other starts and ends still pair.
    pub label_faults: u32,
}

/// Returns the slot of a level in the map of nested starts.
pub(crate) fn slot(level: u64) -> u64 {
    if level < OUTERMOST.into() {
        level
    } else {
        u64::from(OUTERMOST) + level % u64::from(INNERMOST)
    }
}

impl HandlerBuilder<'_> {
    /// Lays out the key and the value of a start.
    pub(super) fn start(
        &mut self,
        key: &Subject,
        keep: &[Subject],
        nests: bool,
        key_fields: &mut Vec<Field>,
        fields: &mut Vec<Field>,
    ) -> Result<Action, String> {
        let key = self.start_key(key, key_fields)?;
        if nests {
            self.layout.reserve(8);
        }
        let key_faults = self.required;
        let mut saved = self.region(Some(0), keep, fields)?;
        // The first 8 bytes are for the time.
        saved.writes.retain(|m| !matches!(m, KeyWrite::Constant { .. }));
        if nests {
            self.layout.reserve(8);
            saved.size += 8;
        }
        Ok(Action::Start { key, saved, nesting: self.nesting(nests, key_faults) })
    }

    /// Lays out the key in the table for an end, given the key of its start.
    pub(super) fn end(
        &mut self,
        start: FrameRegion,
        series: u32,
        by: &[Subject],
        kept: u32,
        nests: bool,
        fields: &mut Vec<Field>,
    ) -> Result<Action, String> {
        if nests {
            self.layout.reserve(16);
        }
        let key_faults = self.required;
        let mut key = self.region(Some(series), by, fields)?;
        // The key is the last region of the frame, so the kept fields can be appended to it.
        self.layout.reserve(kept);
        key.size += kept;
        Ok(Action::End { start, key, kept, nesting: self.nesting(nests, key_faults) })
    }

    /// Separates the fault bits of labels from those of the key, `key_faults`, if starts nest.
    fn nesting(&mut self, nests: bool, key_faults: u32) -> Option<Nesting> {
        nests.then(|| {
            let label_faults = self.required & !key_faults;
            self.required = key_faults;
            Nesting { label_faults }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_share_a_slot_only_beyond_the_maximum() {
        let max = u64::from(MAX_NESTED_CALLS);
        let slots: std::collections::BTreeSet<u64> = (0..max).map(slot).collect();
        assert_eq!(slots, (0..max).collect());
        assert_eq!(slot(max), slot(OUTERMOST.into()));
        assert!((0..1000).all(|level| slot(level) < max));
    }
}
