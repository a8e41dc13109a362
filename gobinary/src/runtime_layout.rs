//! Addresses and offsets of the runtime's data, for readers of a process's memory: its goroutines
//! and its heap counters.

use crate::binary::GoBinary;
use crate::catalog::{self, LabelSet};
use crate::code::Code;
use stapsdt::source::Source;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The function that appends to the slice of goroutines.
const ALLGADD: &str = "runtime.allgadd";
/// The function that starts a garbage collection.
const GC_START: &str = "runtime.gcStart";
/// The method of `runtime.gcController` that [`GC_START`] calls.
const START_CYCLE: &str = "runtime.(*gcControllerState).startCycle";

/// Link-time addresses of the runtime's data, and offsets in its structs.
///
/// ```no_run
/// let data = std::fs::read("/usr/local/bin/app")?;
/// let layout = gobinary::GoBinary::parse(&data).and_then(|go| go.runtime_layout());
/// if let Some(layout) = layout {
///     println!("runtime.allgs is at {:#x}", layout.allgs);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeLayout {
    /// The address of `runtime.allgs`, a slice of pointers to all goroutines. It includes
    /// goroutines that have exited.
    pub allgs: u64,
    /// The offsets in `runtime.g`.
    pub goroutine: GoroutineLayout,
    /// The address of the counter of bytes allocated since the program started, 8 bytes. A
    /// processor updates it when it gets fresh memory, so it lags behind. `None` if it cannot be
    /// located.
    pub total_alloc: Option<u64>,
}

/// Offsets in bytes in `runtime.g`, the struct of a goroutine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoroutineLayout {
    /// The goroutine id, 8 bytes.
    pub id: u32,
    /// The status, 4 bytes: see [`GoroutineStatus::from_word`].
    pub status: u32,
    /// The code of the wait reason, 1 byte: an index into [`wait_reason_labels`].
    ///
    /// [`wait_reason_labels`]: GoroutineLayout::wait_reason_labels
    pub wait_reason: u32,
    /// The return address of the `go` statement that created the goroutine, 8 bytes.
    pub caller: u32,
    /// The entry address of the goroutine's function, 8 bytes.
    pub function: u32,
    /// The labels of the wait reasons by code; empty for releases whose labels are unknown.
    pub wait_reason_labels: &'static [&'static str],
}

/// The status of a goroutine (`runtime/runtime2.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GoroutineStatus {
    /// It can run but has no processor.
    Runnable,
    /// It is running, or its stack is being moved.
    Running,
    /// It is in a system call or a cgo call.
    InSyscall,
    /// It is waiting, for the reason in its wait reason code.
    Waiting,
}

impl GoroutineStatus {
    /// Decodes the status word of `runtime.g`. Returns `None` for goroutines that have exited or
    /// are being created.
    pub fn from_word(word: u32) -> Option<GoroutineStatus> {
        /// The flag for a stack that is being scanned.
        const SCAN: u32 = 0x1000;
        match word & !SCAN {
            1 => Some(GoroutineStatus::Runnable),
            // 8: the stack is being moved.
            2 | 8 => Some(GoroutineStatus::Running),
            3 => Some(GoroutineStatus::InSyscall),
            // 9: preempted; 10: leaked.
            4 | 9 | 10 => Some(GoroutineStatus::Waiting),
            _ => None,
        }
    }
}

impl<'a, S: Source<'a>> GoBinary<'a, S> {
    /// Locates the runtime's data in a process of this file.
    ///
    /// Returns `None` if the list of goroutines or one of the offsets cannot be determined.
    pub fn runtime_layout(&self) -> Option<RuntimeLayout> {
        let mut allgs = self.symbol_address("runtime.allgs");
        let mut gc_controller = self.symbol_address("runtime.gcController");
        if allgs.is_none() || gc_controller.is_none() {
            let functions = self.function_ranges([ALLGADD, GC_START, START_CYCLE]);
            allgs = allgs.or_else(|| self.find_allgs(&functions));
            gc_controller = gc_controller.or_else(|| self.find_gc_controller(&functions));
        }
        Some(RuntimeLayout {
            allgs: allgs?,
            goroutine: GoroutineLayout {
                id: self.goid_offset()?,
                status: self.field_offset(&catalog::GOROUTINE_STATUS)?,
                wait_reason: self.field_offset(&catalog::GOROUTINE_WAIT_REASON)?,
                caller: self.field_offset(&catalog::GOROUTINE_CALLER)?,
                function: self.field_offset(&catalog::GOROUTINE_FUNCTION)?,
                wait_reason_labels: self.labels(LabelSet::WaitReason).unwrap_or_default(),
            },
            total_alloc: gc_controller
                .zip(self.field_offset(&catalog::ALLOCATED_BYTES))
                .and_then(|(address, offset)| address.checked_add(offset.into())),
        })
    }

    /// Finds `runtime.allgs` in stripped files: the only three adjacent words that
    /// `runtime.allgadd` accesses.
    fn find_allgs(&self, functions: &HashMap<&str, Range<u64>>) -> Option<u64> {
        let references = self.code(functions.get(ALLGADD)?)?.references();
        let accessed: HashSet<u64> = references.iter().map(|r| r.address).collect();
        let is_accessed = |address: u64| accessed.contains(&address);
        references
            .iter()
            .map(|r| r.address)
            .find(|a| is_accessed(a.wrapping_add(8)) && is_accessed(a.wrapping_add(16)))
    }

    /// Finds `runtime.gcController` in stripped files: the receiver of the call of `startCycle`.
    fn find_gc_controller(&self, functions: &HashMap<&str, Range<u64>>) -> Option<u64> {
        let code = self.code(functions.get(GC_START)?)?;
        let call = code.find_call(functions.get(START_CYCLE)?.start)?;
        // The receiver is the last address loaded before the call: the other arguments are
        // constants or come from the stack.
        let mut before_call = code.references().into_iter().filter(|r| r.offset < call);
        before_call.next_back().map(|r| r.address)
    }

    fn code(&self, function: &Range<u64>) -> Option<Code<'a>> {
        /// The size limit of a function in bytes; these have some kilobytes.
        const MAX_SIZE: u64 = 1 << 16;
        let size = function.end.checked_sub(function.start)?.min(MAX_SIZE);
        let bytes = self.view.bytes_up_to(function.start, size)?;
        Some(Code { bytes, address: function.start, arch: self.view.arch()? })
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
