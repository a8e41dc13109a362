//! Where a running program keeps what it knows of its goroutines and of its memory, for readers of that memory.

use crate::GoBinary;
use crate::catalogue::{self, LabelSet};
use crate::code::Code;
use crate::pclntab::symbol;
use object::Object;
use std::collections::HashMap;
use std::ops::Range;

/// Appends to the slice of goroutines.
const APPENDS: &str = "runtime.allgadd";
/// Starts a collection, and the method of `runtime.gcController` that it calls.
const STARTS: &str = "runtime.gcStart";
const METHOD: &str = "runtime.(*gcControllerState).startCycle";

/// Link-time addresses, and offsets in structs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeLayout {
    /// `runtime.allgs`: a slice of pointers to every goroutine, ended ones too.
    pub allgs: u64,
    /// Where `runtime.g` has what.
    pub goroutine: GoroutineLayout,
    /// Bytes allocated since the program began; each processor adds its own when it takes fresh memory.
    pub total_alloc: Option<u64>,
}

/// Offsets in `runtime.g`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoroutineLayout {
    /// Its id, 8 bytes.
    pub id: u32,
    /// Its [`GoroutineStatus`], 4 bytes.
    pub status: u32,
    /// What it waits for, 1 byte.
    pub wait_reason: u32,
    /// The address behind the go statement, 8 bytes.
    pub caller: u32,
    /// The entry of the function it runs, 8 bytes.
    pub function: u32,
    /// Labels of the wait reasons, by number; empty for releases whose labels are not known.
    pub wait_reason_labels: &'static [&'static str],
}

/// What a goroutine does (`runtime/runtime2.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GoroutineStatus {
    /// It could run.
    Runnable,
    /// It runs.
    Running,
    /// It is in a system call.
    InSyscall,
    /// It waits.
    Waiting,
}

impl GoroutineStatus {
    /// From the word of `runtime.g`; `None` for goroutines that have ended or not begun to be.
    pub fn from_word(word: u32) -> Option<GoroutineStatus> {
        /// Somebody looks at its stack, whatever else it does.
        const SCAN: u32 = 0x1000;
        match word & !SCAN {
            1 => Some(GoroutineStatus::Runnable),
            // 8: its stack is being moved.
            2 | 8 => Some(GoroutineStatus::Running),
            3 => Some(GoroutineStatus::InSyscall),
            // 9: it was stopped; 10: nobody can wake it any more.
            4 | 9 | 10 => Some(GoroutineStatus::Waiting),
            _ => None,
        }
    }
}

impl GoBinary<'_> {
    /// Where to look in a process of this file, if that is known. The data is the file's.
    pub fn runtime_layout(&self, data: &[u8]) -> Option<RuntimeLayout> {
        let symbol = |name: &str| symbol(&self.file, name.as_bytes());
        let (mut goroutines, mut collector) =
            (symbol("runtime.allgs"), symbol("runtime.gcController"));
        if goroutines.is_none() || collector.is_none() {
            let table = self.function_table().and_then(|layout| layout.table(data));
            let functions =
                table.map(|table| table.named([APPENDS, STARTS, METHOD])).unwrap_or_default();
            goroutines = goroutines.or_else(|| self.slice_of_goroutines(&functions));
            collector = collector.or_else(|| self.collector(&functions));
        }
        Some(RuntimeLayout {
            allgs: goroutines?,
            goroutine: GoroutineLayout {
                id: self.goid_offset()?,
                status: self.field_offset(&catalogue::GOROUTINE_STATUS)?,
                wait_reason: self.field_offset(&catalogue::GOROUTINE_WAIT_REASON)?,
                caller: self.field_offset(&catalogue::GOROUTINE_CALLER)?,
                function: self.field_offset(&catalogue::GOROUTINE_FUNCTION)?,
                wait_reason_labels: self.labels(LabelSet::WaitReason).unwrap_or_default(),
            },
            total_alloc: collector
                .zip(self.field_offset(&catalogue::ALLOCATED_BYTES))
                .and_then(|(address, offset)| address.checked_add(offset.into())),
        })
    }

    /// The slice that is appended to: the only three words in a row that the function touches.
    fn slice_of_goroutines(&self, functions: &HashMap<&str, Range<u64>>) -> Option<u64> {
        let seen = self.code(functions.get(APPENDS)?)?.references();
        let has = |address: u64| seen.iter().any(|(_, other)| *other == address);
        seen.iter()
            .map(|(_, address)| *address)
            .find(|a| has(a.wrapping_add(8)) && has(a.wrapping_add(16)))
    }

    /// `runtime.gcController`: what a method is called of.
    fn collector(&self, functions: &HashMap<&str, Range<u64>>) -> Option<u64> {
        let code = self.code(functions.get(STARTS)?)?;
        let call = code.call(functions.get(METHOD)?.start)?;
        // Its receiver is loaded last that is no constant; other arguments come from the stack.
        let mut before = code.references().into_iter().filter(|(at, _)| *at < call);
        before.next_back().map(|(_, address)| address)
    }

    fn code(&self, function: &Range<u64>) -> Option<Code<'_>> {
        let bytes = self.at(function.start, function.end.checked_sub(function.start)?)?;
        Some(Code { bytes, address: function.start, arch: self.file.architecture() })
    }
}

#[cfg(test)]
mod tests {
    use super::GoroutineStatus;

    #[test]
    fn maps_runtime_states_to_statuses() {
        let of = GoroutineStatus::from_word;
        assert_eq!(
            (of(1), of(0x1001)),
            (Some(GoroutineStatus::Runnable), Some(GoroutineStatus::Runnable))
        );
        assert_eq!(
            (of(2), of(8)),
            (Some(GoroutineStatus::Running), Some(GoroutineStatus::Running))
        );
        assert_eq!(
            (of(3), of(0x1004), of(9)),
            (Some(GoroutineStatus::InSyscall), Some(GoroutineStatus::Waiting), of(4))
        );
        assert_eq!((of(0), of(6), of(11), of(u32::MAX)), (None, None, None, None));
    }
}
