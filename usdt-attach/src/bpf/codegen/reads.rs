//! Read operations, which fill a record or a frame.

use super::fault_in::{StringLen, StringSpan, max_of};
use super::{BASE, CTX, Cond, Emitter, Label, R0, R1, R2, R3, Width, helper};
use crate::bpf::asm::R4;
use crate::plan::record_layout::FAULTS;
use crate::plan::{Address, GuardTest, GuardWord, ReadOp};

/// The region that is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A record in the event buffer.
    Record,
    /// The stack. The verifier wants every byte to be written before it is read.
    Frame,
}

/// `BPF_F_USER_STACK`.
const USER_STACK: i32 = 1 << 8;

impl Emitter<'_> {
    pub(super) fn read_all(&mut self, reads: &[ReadOp], base: Base) {
        for read in reads {
            self.read(read, base);
        }
    }

    fn read(&mut self, read: &ReadOp, base: Base) {
        match read {
            ReadOp::Constant { to, value } => {
                self.asm.mov_imm64(R1, *value);
                self.asm.store(Width::Dw, BASE, *to as i16, R1);
            }
            ReadOp::Register { to, from } => {
                self.asm.load(Width::Dw, R1, CTX, *from);
                self.asm.store(Width::Dw, BASE, *to as i16, R1);
            }
            ReadOp::Memory { to, len, from, fault } => {
                let (failed, done) = (self.asm.label(), self.asm.label());
                if !from.deref_chain.is_empty() && base == Base::Frame {
                    // If a dereference fails, the rest would stay unwritten.
                    self.clear(*to, *len);
                }
                self.copy_memory(from, *to, *len, failed);
                self.asm.jump(done);
                self.asm.place(failed);
                self.set_fault(*fault);
                self.asm.place(done);
            }
            ReadOp::Guarded { .. } => self.guarded(read, base),
            ReadOp::String { to, max, fault, .. } => {
                if base == Base::Frame {
                    self.clear(*to, 8 + max);
                }
                let done = self.asm.label();
                self.string(read, base, done);
                self.set_fault(*fault);
                self.asm.place(done);
            }
            ReadOp::PidTgid { to } => {
                self.ids();
                self.asm.store(Width::Dw, BASE, *to as i16, R0);
            }
            ReadOp::Comm { to } => self.comm(*to),
            ReadOp::Stack { to, frames } => {
                self.address_of(to + 8);
                self.asm.mov(R2, R1);
                self.asm.mov(R1, CTX);
                self.asm.mov_imm(R3, *frames as i32 * 8);
                self.asm.mov_imm(R4, USER_STACK);
                self.asm.call(helper::GET_STACK);
                self.asm.store(Width::Dw, BASE, *to as i16, R0);
            }
        }
    }

    /// Copies user memory to the region, or jumps to `failed`.
    fn copy_memory(&mut self, from: &Address, to: u32, len: u32, failed: Label) {
        self.address(from);
        for offset in from.offsets_after_deref() {
            self.address_of(to);
            self.asm.mov_imm(R2, 8);
            self.asm.call(helper::PROBE_READ_USER);
            self.asm.jump_if(Cond::Ne, R0, 0, failed);
            self.asm.load(Width::Dw, R3, BASE, to as i16);
            self.add(offset);
        }
        self.address_of(to);
        self.asm.mov_imm(R2, len as i32);
        self.asm.call(helper::PROBE_READ_USER);
        self.asm.jump_if(Cond::Ne, R0, 0, failed);
    }

    /// Executes an operation if its guards hold. The words of guards are read to the first bytes of
    /// the region that the operation fills.
    fn guarded(&mut self, read: &ReadOp, base: Base) {
        let ReadOp::Guarded { to, len, guards, fault, missing, read } = read else { return };
        let [absent, failed, done] = [(); 3].map(|()| self.asm.label());
        self.clear(*to, *len);
        for guard in guards {
            match &guard.word {
                GuardWord::Register(from) => self.asm.load(Width::Dw, R1, CTX, *from),
                GuardWord::Memory(from) => {
                    self.copy_memory(from, *to, 8, failed);
                    self.asm.load(Width::Dw, R1, BASE, *to as i16);
                }
            }
            match guard.test {
                GuardTest::Above(index) => {
                    self.asm.mov_imm64(R2, index);
                    self.asm.jump_if_reg(Cond::Sle, R1, R2, absent);
                }
                GuardTest::NotZero => self.asm.jump_if(Cond::Eq, R1, 0, absent),
                GuardTest::Equal { register, distance } => {
                    self.asm.load(Width::Dw, R3, CTX, register);
                    self.add(distance);
                    self.asm.jump_if_reg(Cond::Ne, R1, R3, absent);
                }
            }
        }
        self.read(read, base);
        self.asm.jump(done);
        self.asm.place(absent);
        self.set_fault(*missing);
        self.asm.place(failed);
        self.set_fault(*fault);
        // A string whose pointer does not exist has the address 0.
        self.asm.store_imm(Width::Dw, BASE, *to as i16, 0);
        self.asm.place(done);
    }

    /// Stores the thread name. If offsets in `task_struct` are known, two loads replace the helper
    /// and leave the task in `r0`.
    pub(super) fn comm(&mut self, to: u32) {
        let Some(task) = self.features.task else {
            self.address_of(to);
            self.asm.mov_imm(R2, 16);
            self.asm.call(helper::GET_CURRENT_COMM);
            return;
        };
        self.asm.call(helper::GET_CURRENT_TASK_BTF);
        for at in [0, 8] {
            self.asm.load(Width::Dw, R1, R0, task.comm + at);
            self.asm.store(Width::Dw, BASE, to as i16 + at, R1);
        }
    }

    /// `r1 = BASE + offset`.
    pub(super) fn address_of(&mut self, offset: u32) {
        self.asm.mov(R1, BASE);
        self.asm.add_imm(R1, offset as i32);
    }

    /// Sets a part of the region to zero.
    fn clear(&mut self, to: u32, len: u32) {
        for at in (to..to + len).step_by(8) {
            self.asm.store_imm(Width::Dw, BASE, at as i16, 0);
        }
    }

    /// `r3 = base + index * scale + ` the first offset.
    fn address(&mut self, from: &Address) {
        let asm = &mut self.asm;
        match from.base {
            Some(base) => asm.load(Width::Dw, R3, CTX, base),
            None => asm.mov_imm(R3, 0),
        }
        if let Some((index, scale)) = from.index {
            asm.load(Width::Dw, R2, CTX, index);
            if scale > 1 {
                asm.shl(R2, scale.ilog2() as i32);
            }
            asm.add(R3, R2);
        }
        self.add(from.first_offset());
    }

    /// `r3 += offset`.
    fn add(&mut self, offset: i64) {
        match i32::try_from(offset) {
            Ok(0) => {}
            Ok(offset) => self.asm.add_imm(R3, offset),
            Err(_) => {
                self.asm.mov_imm64(R2, offset);
                self.asm.add(R3, R2);
            }
        }
    }

    /// Copies a string, truncated to its `max` bytes, and jumps to `done` unless that fails.
    fn string(&mut self, read: &ReadOp, base: Base, done: Label) {
        let ReadOp::String { pointer, length, fault_in, .. } = read else { return };
        self.copy_string(read, done);
        self.asm.jump_if(Cond::Sge, R0, 0, done);
        // Space in the event buffer is reserved with preemption disabled, so the program cannot
        // sleep; `fault_in_strings` has brought the string into memory before.
        if *fault_in && self.features.sleepable && base == Base::Frame {
            let len = length.map_or(StringLen::Max, StringLen::Slot);
            self.fault_in(StringSpan { pointer: *pointer, len, max: max_of(read) });
            self.copy_string(read, done);
            self.asm.jump_if(Cond::Sge, R0, 0, done);
        }
    }

    /// Copies a string and its length. `r0` is negative if the bytes cannot be read. Jumps to `done`
    /// if the length is negative: then there is nothing to read.
    fn copy_string(&mut self, read: &ReadOp, done: Label) {
        let ReadOp::String { to, max, pointer, length, .. } = read else { return };
        match length {
            Some(length) => {
                let short = self.asm.label();
                self.load_slot(R2, *length);
                if length.signed {
                    let positive = self.asm.label();
                    self.asm.jump_if(Cond::Sge, R2, 0, positive);
                    self.asm.store(Width::W, BASE, *to as i16, R2);
                    self.asm.jump(done);
                    self.asm.place(positive);
                }
                self.asm.jump_if(Cond::Le, R2, *max as i32, short);
                self.asm.mov_imm(R2, *max as i32);
                self.asm.place(short);
                self.asm.store(Width::W, BASE, *to as i16, R2);
                self.asm.load(Width::Dw, R3, BASE, *pointer as i16);
                self.address_of(to + 8);
                self.asm.call(helper::PROBE_READ_USER);
            }
            None => {
                self.asm.load(Width::Dw, R3, BASE, *pointer as i16);
                self.address_of(to + 8);
                self.asm.mov_imm(R2, *max as i32);
                self.asm.call(helper::PROBE_READ_USER_STR);
                self.asm.store(Width::W, BASE, *to as i16, R0);
            }
        }
    }

    fn set_fault(&mut self, fault: u8) {
        let asm = &mut self.asm;
        asm.load(Width::W, R1, BASE, FAULTS as i16);
        asm.or32_imm(R1, (1u32 << fault) as i32);
        asm.store(Width::W, BASE, FAULTS as i16, R1);
    }
}
