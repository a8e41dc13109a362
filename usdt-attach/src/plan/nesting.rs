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

use super::arguments::OperandResult;
use super::handler::{Action, FrameRegion, KeyWrite};
use super::handler_builder::HandlerBuilder;
use super::reads::ArgSlot;
use super::table::{Field, FieldKind};
use crate::discover::goroutine_register;
use crate::filter::Subject;
use serde::Serialize;
use stapsdt::argspec::{Arch, Expr, Operand, Register, RegisterId, Value};

/// What pairs a start with its end, in addition to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PairBy {
    /// The value of a subject.
    Subject(Subject),
    /// The frame of the call: the goroutine, and the distance of the stack pointer from the top of
    /// the stack. Stacks move, but the distance stays the same. A call that a panic unwinds leaves
    /// its start, which the next call with the same frame replaces, so that no end of another call
    /// finds it.
    Frame,
}

/// What the key of an end's row in the table consists of.
pub(super) struct RowKey<'a> {
    /// The index of the probe.
    pub(super) series: u32,
    /// The labels that are read at the end.
    pub(super) by: &'a [Subject],
    /// Size in bytes of the label fields kept from the start.
    pub(super) kept: u32,
}

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
        key: &PairBy,
        keep: &[Subject],
        nests: bool,
        key_fields: &mut Vec<Field>,
        fields: &mut Vec<Field>,
    ) -> Result<Action, String> {
        let is_frame = *key == PairBy::Frame;
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
        Ok(Action::Start { key, is_frame, saved, nesting: self.nesting(nests, key_faults) })
    }

    /// Lays out the key of the start and the key in the table for an end.
    pub(super) fn end(
        &mut self,
        start_key: &PairBy,
        row: &RowKey<'_>,
        nests: bool,
        key_fields: &mut Vec<Field>,
        fields: &mut Vec<Field>,
    ) -> Result<Action, String> {
        let RowKey { series, by, kept } = *row;
        let is_frame = *start_key == PairBy::Frame;
        let start = self.start_key(start_key, key_fields)?;
        if nests {
            self.layout.reserve(16);
        }
        let key_faults = self.required;
        let mut key = self.region(Some(series), by, fields)?;
        // The key is the last region of the frame, so the kept fields can be appended to it.
        self.layout.reserve(kept);
        key.size += kept;
        Ok(Action::End { start, is_frame, key, kept, nesting: self.nesting(nests, key_faults) })
    }

    /// Lays out the key of starts: the process id and what pairs a start with its end.
    fn start_key(&mut self, key: &PairBy, fields: &mut Vec<Field>) -> Result<FrameRegion, String> {
        let key = match key {
            PairBy::Subject(key) => key,
            PairBy::Frame => return self.frame_key(fields),
        };
        let pid = ArgSlot { at: self.pid_tgid() + 4, size: 4, signed: false, fault: None };
        let mut region = self.region(Some(0), std::slice::from_ref(key), fields)?;
        region.writes.retain(|m| !matches!(m, KeyWrite::Constant { .. }));
        region.writes.push(KeyWrite::Slot { to: region.at, from: pid });
        Ok(region)
    }

    /// Lays out a key of the process id, the goroutine, and the distance of the stack pointer from
    /// the top of the stack (`runtime.g.stack.hi`).
    fn frame_key(&mut self, fields: &mut Vec<Field>) -> Result<FrameRegion, String> {
        let arch = self.arguments.arch;
        let pid = ArgSlot { at: self.pid_tgid() + 4, size: 4, signed: false, fault: None };
        let g = word(Operand::Register(Register::gpr(goroutine_register(arch))));
        let operands = [&[g][..], &frame_operands(arch)].concat();
        let slots = self.layout.read_all(&operands, arch);
        let mut slots = slots.into_iter().collect::<Result<Vec<ArgSlot>, String>>()?.into_iter();
        let mut next = || slots.next().ok_or_else(String::new);
        let (g, stack_pointer, top) = (next()?, next()?, next()?);
        self.require(top.fault);
        let at = self.layout.reserve(24);
        for (name, at) in [("goroutine", 8), ("frame", 16)] {
            let kind = FieldKind::Int { signed: false };
            fields.push(Field { name: name.to_owned(), kind, at });
        }
        let writes = vec![
            KeyWrite::Slot { to: at, from: pid },
            KeyWrite::Slot { to: at + 8, from: g },
            KeyWrite::Difference { to: at + 16, from: top, subtract: stack_pointer },
        ];
        Ok(FrameRegion { at, size: 24, writes })
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

/// Returns the stack pointer and the top of the goroutine's stack (`runtime.g.stack.hi`). Their
/// distance is that of the frame of a call.
pub(super) fn frame_operands(arch: Arch) -> [OperandResult; 2] {
    /// The offset of `stack.hi` in `runtime.g`, which begins with `stack`.
    const STACK_HI: i64 = 8;
    let stack_pointer = match arch {
        Arch::X86_64 => Register::gpr(4),
        Arch::Aarch64 => Register { id: RegisterId::Sp, bits: 64, shift: 0 },
    };
    let g = Register::gpr(goroutine_register(arch));
    let top = Operand::Memory { disp: Expr::number(STACK_HI), base: Some(g), index: None };
    [Operand::Register(stack_pointer), top].map(word)
}

fn word(operand: Operand) -> OperandResult {
    let value = Value { size: 8, signed: false, float: false, operand };
    Ok(value.into())
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
