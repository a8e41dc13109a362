//! The steps that fill a record or a frame.

use super::{BASE, CTX, Cond, Emitter, R0, R1, R2, R3, Width, helper};
use crate::bpf::asm::R4;
use crate::plan::record_layout::FAULTS;
use crate::plan::{Address, ReadOp};

/// What is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A record of the event buffer.
    Record,
    /// The stack, where the kernel wants every byte written before one is read.
    Frame,
}

/// `BPF_F_USER_STACK`.
const USER_STACK: i32 = 1 << 8;

impl Emitter<'_> {
    pub(super) fn steps(&mut self, steps: &[ReadOp], base: Base) {
        for step in steps {
            self.step(step, base);
        }
    }

    fn step(&mut self, step: &ReadOp, base: Base) {
        match step {
            ReadOp::Constant { to, value } => {
                self.asm.mov_imm64(R1, *value);
                self.asm.store(Width::Dw, BASE, *to as i16, R1);
            }
            ReadOp::Register { to, from } => {
                self.asm.load(Width::Dw, R1, CTX, *from);
                self.asm.store(Width::Dw, BASE, *to as i16, R1);
            }
            ReadOp::Memory { to, len, from, fault } => {
                let (failed, fine) = (self.asm.label(), self.asm.label());
                self.address(from);
                if !from.deref_chain.is_empty() && base == Base::Frame {
                    // A read that fails in front of it leaves the rest unwritten.
                    self.clear(*to, *len);
                }
                for distance in from.offsets_after_deref() {
                    self.at(*to);
                    self.asm.mov_imm(R2, 8);
                    self.asm.call(helper::PROBE_READ_USER);
                    self.asm.jump_if(Cond::Ne, R0, 0, failed);
                    self.asm.load(Width::Dw, R3, BASE, *to as i16);
                    self.add(distance);
                }
                self.at(*to);
                self.asm.mov_imm(R2, *len as i32);
                self.asm.call(helper::PROBE_READ_USER);
                self.asm.jump_if(Cond::Eq, R0, 0, fine);
                self.asm.place(failed);
                self.set_fault(*fault);
                self.asm.place(fine);
            }
            ReadOp::String { to, max, pointer, length, fault } => {
                if base == Base::Frame {
                    self.clear(*to, 8 + max);
                }
                self.text(*to, *max, *pointer, *length, *fault);
            }
            ReadOp::PidTgid { to } => {
                self.asm.call(helper::GET_CURRENT_PID_TGID);
                self.asm.store(Width::Dw, BASE, *to as i16, R0);
            }
            ReadOp::Comm { to } => self.comm(*to),
            ReadOp::Stack { to, frames } => {
                self.at(to + 8);
                self.asm.mov(R2, R1);
                self.asm.mov(R1, CTX);
                self.asm.mov_imm(R3, *frames as i32 * 8);
                self.asm.mov_imm(R4, USER_STACK);
                self.asm.call(helper::GET_STACK);
                self.asm.store(Width::Dw, BASE, *to as i16, R0);
            }
        }
    }

    /// The thread's name. The helper clears, measures and copies; loading both words takes next to nothing, and leaves
    /// the task in `r0`.
    pub(super) fn comm(&mut self, to: u32) {
        let Some(task) = self.features.task else {
            self.at(to);
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

    /// `r1 = base + offset`.
    pub(super) fn at(&mut self, offset: u32) {
        self.asm.mov(R1, BASE);
        self.asm.add_imm(R1, offset as i32);
    }

    fn clear(&mut self, to: u32, len: u32) {
        for at in (to..to + len).step_by(8) {
            self.asm.store_imm(Width::Dw, BASE, at as i16, 0);
        }
    }

    /// `r3 = base + index * scale` and the first distance.
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

    /// `r3 += distance`.
    fn add(&mut self, distance: i64) {
        match i32::try_from(distance) {
            Ok(0) => {}
            Ok(distance) => self.asm.add_imm(R3, distance),
            Err(_) => {
                self.asm.mov_imm64(R2, distance);
                self.asm.add(R3, R2);
            }
        }
    }

    fn text(&mut self, to: u32, max: u32, pointer: u32, length: Option<u32>, fault: u8) {
        self.asm.load(Width::Dw, R3, BASE, pointer as i16);
        match length {
            Some(length) => {
                let short = self.asm.label();
                self.asm.load(Width::Dw, R2, BASE, length as i16);
                self.asm.jump_if(Cond::Le, R2, max as i32, short);
                self.asm.mov_imm(R2, max as i32);
                self.asm.place(short);
                self.asm.store(Width::W, BASE, to as i16, R2);
                self.at(to + 8);
                self.asm.call(helper::PROBE_READ_USER);
                self.fault_unless_zero(fault);
            }
            None => {
                let fine = self.asm.label();
                self.at(to + 8);
                self.asm.mov_imm(R2, max as i32);
                self.asm.call(helper::PROBE_READ_USER_STR);
                self.asm.store(Width::W, BASE, to as i16, R0);
                self.asm.jump_if(Cond::Sge, R0, 0, fine);
                self.set_fault(fault);
                self.asm.place(fine);
            }
        }
    }

    fn fault_unless_zero(&mut self, fault: u8) {
        let fine = self.asm.label();
        self.asm.jump_if(Cond::Eq, R0, 0, fine);
        self.set_fault(fault);
        self.asm.place(fine);
    }

    fn set_fault(&mut self, fault: u8) {
        let asm = &mut self.asm;
        asm.load(Width::W, R1, BASE, FAULTS as i16);
        asm.or32_imm(R1, (1u32 << fault) as i32);
        asm.store(Width::W, BASE, FAULTS as i16, R1);
    }
}
