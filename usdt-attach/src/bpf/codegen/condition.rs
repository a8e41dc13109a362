//! Conditions: code that jumps to one of two labels.

use super::fault_in::{StringLen, StringSpan};
use super::{BASE, Cond, Emitter, Label, R0, R1, R2, R3, Reg, Width, helper};
use crate::filter::Test;
use crate::plan::record_layout::FAULTS;
use crate::plan::{ArgSlot, Condition, infinity_order};

impl Emitter<'_> {
    /// Jumps to `yes` if the condition holds, else to `no`.
    pub(super) fn condition(&mut self, condition: &Condition, yes: Label, no: Label) {
        match condition {
            Condition::Constant(known) => self.asm.jump(if *known { yes } else { no }),
            Condition::All(a, b) => {
                let second = self.asm.label();
                self.condition(a, second, no);
                self.asm.place(second);
                self.condition(b, yes, no);
            }
            Condition::Any(a, b) => {
                let second = self.asm.label();
                self.condition(a, yes, second);
                self.asm.place(second);
                self.condition(b, yes, no);
            }
            Condition::Not(inner) => self.condition(inner, no, yes),
            Condition::Number { slot, test, value } => {
                self.jump_if_fault(*slot, no);
                self.load_slot(R1, *slot);
                self.compare(*test, slot.signed, *value, yes);
                self.asm.jump(no);
            }
            Condition::Float { slot, test, value } => self.float(*slot, *test, *value, yes, no),
            Condition::String { pointer, length, bytes, scratch, .. } => {
                self.jump_if_fault(*pointer, no);
                if let Some(length) = length.filter(|length| length.fault != pointer.fault) {
                    self.jump_if_fault(length, no);
                }
                self.read_string(condition, no);
                self.same_bytes(*scratch, bytes, no);
                self.asm.jump(yes);
            }
            Condition::FixedString { at, bytes } => {
                self.same_bytes(*at, bytes, no);
                self.asm.jump(yes);
            }
        }
    }

    /// Jumps to `no` if the read of the slot has failed.
    fn jump_if_fault(&mut self, slot: ArgSlot, no: Label) {
        let Some(bit) = slot.fault else { return };
        self.asm.load(Width::W, R1, BASE, FAULTS as i16);
        self.asm.shr(R1, i32::from(bit));
        self.asm.and_imm(R1, 1);
        self.asm.jump_if(Cond::Ne, R1, 0, no);
    }

    /// `dst = ` the value of a slot, sign-extended if it is signed.
    pub(super) fn load_slot(&mut self, dst: Reg, slot: ArgSlot) {
        let (width, bits) = match slot.size {
            1 => (Width::B, 8),
            2 => (Width::H, 16),
            4 => (Width::W, 32),
            _ => (Width::Dw, 64),
        };
        self.asm.load(width, dst, BASE, slot.at as i16);
        if slot.signed && bits < 64 {
            self.asm.shl(dst, 64 - bits);
            self.asm.sar(dst, 64 - bits);
        }
    }

    /// Jumps to `yes` if `r1 TEST value`.
    pub(super) fn compare(&mut self, test: Test, signed: bool, value: i64, yes: Label) {
        let cond = match (test, signed) {
            (Test::Eq, _) => Cond::Eq,
            (Test::Ne, _) => Cond::Ne,
            (Test::Lt, false) => Cond::Lt,
            (Test::Le, false) => Cond::Le,
            (Test::Gt, false) => Cond::Gt,
            (Test::Ge, false) => Cond::Ge,
            (Test::Lt, true) => Cond::Slt,
            (Test::Le, true) => Cond::Sle,
            (Test::Gt, true) => Cond::Sgt,
            (Test::Ge, true) => Cond::Sge,
        };
        self.asm.mov_imm64(R2, value);
        self.asm.jump_if_reg(cond, R1, R2, yes);
    }

    /// Compares floats by `plan::condition::float_order`. NaN is unequal to everything.
    fn float(&mut self, slot: ArgSlot, test: Test, value: i64, yes: Label, no: Label) {
        self.jump_if_fault(slot, no);
        self.load_slot(R1, slot);
        if slot.size == 4 {
            self.asm.shl(R1, 32);
        }
        let not_zero = self.asm.label();
        self.asm.mov(R2, R1);
        self.asm.shl(R2, 1);
        self.asm.jump_if(Cond::Ne, R2, 0, not_zero);
        self.asm.mov_imm(R1, 0);
        self.asm.place(not_zero);
        self.asm.mov(R2, R1);
        self.asm.sar(R2, 63);
        self.asm.shr(R2, 1);
        self.asm.xor(R1, R2);
        let if_nan = if test == Test::Ne { yes } else { no };
        self.asm.mov_imm64(R2, infinity_order(slot.size));
        self.asm.jump_if_reg(Cond::Sgt, R1, R2, if_nan);
        self.asm.mov_imm64(R2, -infinity_order(slot.size) - 1);
        self.asm.jump_if_reg(Cond::Slt, R1, R2, if_nan);
        self.compare(test, true, value, yes);
        self.asm.jump(no);
    }

    /// Reads as many bytes of a string as are compared. Jumps to `no` if the length does not match,
    /// which most strings fail.
    fn read_string(&mut self, condition: &Condition, no: Label) {
        let Condition::String { pointer, length, bytes, prefix, scratch, fault_in } = condition
        else {
            return;
        };
        let wanted = bytes.len() as i32;
        // For C strings, the length includes the NUL, which the helper writes even if it truncates.
        let (helper, read_len, expected) = match length {
            Some(length) => {
                self.load_slot(R1, *length);
                let differs = match (prefix, length.signed) {
                    (false, _) => Cond::Ne,
                    (true, false) => Cond::Lt,
                    (true, true) => Cond::Slt,
                };
                self.asm.jump_if(differs, R1, wanted, no);
                if wanted == 0 {
                    return;
                }
                (helper::PROBE_READ_USER, wanted, 0)
            }
            None => {
                let read_len = if *prefix { wanted + 1 } else { wanted + 2 };
                (helper::PROBE_READ_USER_STR, read_len, wanted + 1)
            }
        };
        let read = |emitter: &mut Self| {
            emitter.load_slot(R3, *pointer);
            emitter.address_of(*scratch);
            emitter.asm.mov_imm(R2, read_len);
            emitter.asm.call(helper);
        };
        read(self);
        if *fault_in && self.features.sleepable {
            let is_read = self.asm.label();
            self.asm.jump_if(Cond::Sge, R0, 0, is_read);
            let max = read_len as u32;
            self.fault_in(StringSpan { pointer: pointer.at, len: StringLen::Max, max });
            read(self);
            self.asm.place(is_read);
        }
        self.asm.jump_if(Cond::Ne, R0, expected, no);
    }

    /// Jumps to `no` unless the frame has these bytes at an offset.
    fn same_bytes(&mut self, at: u32, bytes: &[u8], no: Label) {
        let mut at = at as i16;
        let mut rest = bytes;
        for (size, width) in [(8, Width::Dw), (4, Width::W), (2, Width::H), (1, Width::B)] {
            while let Some((chunk, tail)) = rest.split_at_checked(size) {
                let value =
                    chunk.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
                self.asm.load(width, R1, BASE, at);
                self.asm.mov_imm64(R2, value as i64);
                self.asm.jump_if_reg(Cond::Ne, R1, R2, no);
                at += size as i16;
                rest = tail;
            }
        }
    }
}
