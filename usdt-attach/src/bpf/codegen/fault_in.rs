//! Bringing strings into memory.
//!
//! The helpers that read user memory fail for a page that is not in memory, such as that of a C
//! literal that nothing has read yet. A program that may sleep can wait for the page: it reads a
//! byte of it with `bpf_copy_from_user`, and then reads the string as usual. This costs nothing for
//! strings in memory, except those that are read where the program must not sleep.

use super::{BASE, Cond, Emitter, R0, R1, R2, R3, Width, helper};
use crate::plan::{ArgSlot, ReadOp};

/// Offset of a byte below the region on the stack, for bytes whose value is of no interest.
const SCRATCH: i32 = -8;

/// How many bytes of a string are read.
#[derive(Clone, Copy)]
pub(super) enum StringLen {
    /// A slot has the length, up to the maximum.
    Slot(ArgSlot),
    /// The maximum, unless a NUL comes before it.
    Max,
}

/// The part of a string that is read. It is shorter than a page, so that it is in two pages at most.
#[derive(Clone, Copy)]
pub(super) struct StringSpan {
    /// Offset in the region of the pointer to the string.
    pub(super) pointer: u32,
    pub(super) len: StringLen,
    /// Number of bytes read at most.
    pub(super) max: u32,
}

/// Returns the number of bytes that an operation copies of a string at most.
pub(super) fn max_of(read: &ReadOp) -> u32 {
    match read {
        ReadOp::String { max, .. } => *max,
        _ => 0,
    }
}

impl Emitter<'_> {
    /// Brings the pages of a string into memory. A page that does not exist makes no difference: the
    /// string cannot be read then.
    pub(super) fn fault_in(&mut self, span: StringSpan) {
        self.first_byte(span);
        self.byte_in_r3(helper::COPY_FROM_USER);
        self.last_byte(span);
        self.byte_in_r3(helper::COPY_FROM_USER);
    }

    /// Brings the strings that these operations will copy into memory.
    pub(super) fn fault_in_strings(&mut self, reads: &[ReadOp]) {
        if !self.features.sleepable {
            return;
        }
        for read in reads {
            let ReadOp::String { pointer, length, max, fault_in: true, .. } = read else {
                continue;
            };
            let len = length.map_or(StringLen::Max, StringLen::Slot);
            let span = StringSpan { pointer: *pointer, len, max: *max };
            for byte in [Self::first_byte, Self::last_byte] {
                let is_in_memory = self.asm.label();
                byte(self, span);
                self.byte_in_r3(helper::PROBE_READ_USER);
                self.asm.jump_if(Cond::Eq, R0, 0, is_in_memory);
                byte(self, span);
                self.byte_in_r3(helper::COPY_FROM_USER);
                self.asm.place(is_in_memory);
            }
        }
    }

    /// `r3 = ` the address of the first byte.
    fn first_byte(&mut self, span: StringSpan) {
        self.asm.load(Width::Dw, R3, BASE, span.pointer as i16);
    }

    /// `r3 = ` the address of the last byte.
    fn last_byte(&mut self, span: StringSpan) {
        match span.len {
            StringLen::Slot(length) => {
                let short = self.asm.label();
                self.load_slot(R2, length);
                self.asm.jump_if(Cond::Le, R2, span.max as i32, short);
                self.asm.mov_imm(R2, span.max as i32);
                self.asm.place(short);
                self.first_byte(span);
                self.asm.add(R3, R2);
                self.asm.add_imm(R3, -1);
            }
            StringLen::Max => {
                self.first_byte(span);
                self.asm.add_imm(R3, span.max as i32 - 1);
            }
        }
    }

    /// Reads the byte at `r3` with a helper.
    fn byte_in_r3(&mut self, helper: u32) {
        self.asm.mov(R1, BASE);
        self.asm.add_imm(R1, SCRATCH);
        self.asm.mov_imm(R2, 1);
        self.asm.call(helper);
    }
}
