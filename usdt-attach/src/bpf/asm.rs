//! BPF instructions and an assembler with labels.
//!
//! The encoding is described in `Documentation/bpf/standardization/instruction-set.rst` of the
//! kernel.

use std::fmt;

/// One 64-bit instruction slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insn {
    /// The opcode.
    pub code: u8,
    /// The number of the destination register.
    pub dst: u8,
    /// The number of the source register.
    pub src: u8,
    /// The offset of a memory access or a jump.
    pub off: i16,
    /// The immediate value.
    pub imm: i32,
}

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reg(pub u8);

/// The return value of helpers and of the program.
pub(crate) const R0: Reg = Reg(0);
/// The first argument of helpers, and the context when the program begins.
pub(crate) const R1: Reg = Reg(1);
/// The second argument of helpers.
pub(crate) const R2: Reg = Reg(2);
/// The third argument of helpers.
pub(crate) const R3: Reg = Reg(3);
/// The fourth argument of helpers.
pub(crate) const R4: Reg = Reg(4);
/// Preserved across helper calls.
pub(crate) const R6: Reg = Reg(6);
/// Preserved across helper calls.
pub(crate) const R7: Reg = Reg(7);
/// Preserved across helper calls.
pub(crate) const R8: Reg = Reg(8);
/// Preserved across helper calls.
pub(crate) const R9: Reg = Reg(9);
/// The frame pointer, which is read-only.
pub(crate) const R10: Reg = Reg(10);

/// The width of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// 1 byte.
    B = 0x10,
    /// 2 bytes.
    H = 0x08,
    /// 4 bytes.
    W = 0x00,
    /// 8 bytes.
    Dw = 0x18,
}

/// The condition of a jump. Comparisons are unsigned unless marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cond {
    /// Equal.
    Eq = 0x10,
    /// Not equal.
    Ne = 0x50,
    /// Greater.
    Gt = 0x20,
    /// Greater or equal.
    Ge = 0x30,
    /// Less.
    Lt = 0xa0,
    /// Less or equal.
    Le = 0xb0,
    /// Greater, signed.
    Sgt = 0x60,
    /// Less, signed.
    Slt = 0xc0,
    /// Less or equal, signed.
    Sle = 0xd0,
    /// Greater or equal, signed.
    Sge = 0x70,
}

/// The target of jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// Assembles instructions and resolves jumps to labels.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    code: Vec<Insn>,
    /// The position of each label, once it is placed.
    labels: Vec<Option<usize>>,
    jumps: Vec<Jump>,
}

/// A jump whose offset is not resolved yet.
#[derive(Clone, Copy, Debug)]
struct Jump {
    /// Index of the instruction.
    at: usize,
    target: Label,
}

/// The error for a jump that is longer than a 16-bit offset, or whose label was never placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JumpError;

const LD_IMM64: u8 = 0x18;
const GOTO: u8 = 0x05;
const EXIT: u8 = 0x95;
/// Source register of a wide load of a map, given by its descriptor.
pub(crate) const PSEUDO_MAP_FD: u8 = 1;
/// Source register of a wide load of the address of a map's value.
pub(crate) const PSEUDO_MAP_VALUE: u8 = 2;
/// `BPF_PSEUDO_KFUNC_CALL`: the call's immediate is the BTF type id of a kernel function.
const PSEUDO_KFUNC_CALL: u8 = 2;
const ATOMIC_FETCH: i32 = 1;
const ATOMIC_XCHG: i32 = 0xe1;
const ATOMIC_CMPXCHG: i32 = 0xf1;

impl Assembler {
    fn push(&mut self, code: u8, dst: Reg, src: Reg, off: i16, imm: i32) {
        self.code.push(Insn { code, dst: dst.0, src: src.0, off, imm });
    }

    /// `dst = src`.
    pub(crate) fn mov(&mut self, dst: Reg, src: Reg) {
        self.push(0xbf, dst, src, 0, 0);
    }

    /// `dst = imm`, sign-extended.
    pub(crate) fn mov_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0xb7, dst, R0, 0, imm);
    }

    /// `dst = value`.
    pub(crate) fn mov_imm64(&mut self, dst: Reg, value: i64) {
        match i32::try_from(value) {
            Ok(imm) => self.mov_imm(dst, imm),
            Err(_) => self.wide(dst, R0, value as i32, (value >> 32) as i32),
        }
    }

    /// `dst = map`.
    pub(crate) fn map(&mut self, dst: Reg, fd: i32) {
        self.wide(dst, Reg(PSEUDO_MAP_FD), fd, 0);
    }

    /// `dst = &map[0]`, for array maps (Linux 5.2).
    pub(crate) fn map_value(&mut self, dst: Reg, fd: i32) {
        self.map_value_at(dst, fd, 0);
    }

    /// `dst = (char *)&map[0] + offset`.
    pub(crate) fn map_value_at(&mut self, dst: Reg, fd: i32, offset: i32) {
        self.wide(dst, Reg(PSEUDO_MAP_VALUE), fd, offset);
    }

    fn wide(&mut self, dst: Reg, src: Reg, low: i32, high: i32) {
        self.push(LD_IMM64, dst, src, 0, low);
        self.push(0, R0, R0, 0, high);
    }

    /// `dst += src`.
    pub(crate) fn add(&mut self, dst: Reg, src: Reg) {
        self.push(0x0f, dst, src, 0, 0);
    }

    /// `dst += imm`.
    pub(crate) fn add_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x07, dst, R0, 0, imm);
    }

    /// `dst -= src`.
    pub(crate) fn sub(&mut self, dst: Reg, src: Reg) {
        self.push(0x1f, dst, src, 0, 0);
    }

    /// `dst *= imm`.
    pub(crate) fn mul_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x27, dst, R0, 0, imm);
    }

    /// `dst /= src`, unsigned.
    pub(crate) fn div(&mut self, dst: Reg, src: Reg) {
        self.push(0x3f, dst, src, 0, 0);
    }

    /// `dst &= src`.
    pub(crate) fn and(&mut self, dst: Reg, src: Reg) {
        self.push(0x5f, dst, src, 0, 0);
    }

    /// `dst /= imm`, unsigned.
    pub(crate) fn div_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x37, dst, R0, 0, imm);
    }

    /// `dst ^= src`.
    pub(crate) fn xor(&mut self, dst: Reg, src: Reg) {
        self.push(0xaf, dst, src, 0, 0);
    }

    /// `dst ^= imm`, sign-extended.
    pub(crate) fn xor_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0xa7, dst, R0, 0, imm);
    }

    /// `dst = -dst`.
    pub(crate) fn neg(&mut self, dst: Reg) {
        self.push(0x87, dst, R0, 0, 0);
    }

    /// `dst &= imm`.
    pub(crate) fn and_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x57, dst, R0, 0, imm);
    }

    /// `dst |= imm`, of 32 bits; the upper half becomes zero.
    pub(crate) fn or32_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x44, dst, R0, 0, imm);
    }

    /// `dst <<= bits`.
    pub(crate) fn shl(&mut self, dst: Reg, bits: i32) {
        self.push(0x67, dst, R0, 0, bits);
    }

    /// `dst >>= bits`, unsigned.
    pub(crate) fn shr(&mut self, dst: Reg, bits: i32) {
        self.push(0x77, dst, R0, 0, bits);
    }

    /// `dst >>= bits`, signed.
    pub(crate) fn sar(&mut self, dst: Reg, bits: i32) {
        self.push(0xc7, dst, R0, 0, bits);
    }

    /// `dst |= imm`, sign-extended.
    pub(crate) fn or_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x47, dst, R0, 0, imm);
    }

    /// `dst = *(width *)(src + off)`.
    pub(crate) fn load(&mut self, width: Width, dst: Reg, src: Reg, off: i16) {
        self.push(0x61 | width as u8, dst, src, off, 0);
    }

    /// `*(width *)(dst + off) = src`.
    pub(crate) fn store(&mut self, width: Width, dst: Reg, off: i16, src: Reg) {
        self.push(0x63 | width as u8, dst, src, off, 0);
    }

    /// `*(width *)(dst + off) = imm`.
    pub(crate) fn store_imm(&mut self, width: Width, dst: Reg, off: i16, imm: i32) {
        self.push(0x62 | width as u8, dst, R0, off, imm);
    }

    /// `*(u64 *)(dst + off) += src`, atomically.
    pub(crate) fn atomic_add(&mut self, dst: Reg, off: i16, src: Reg) {
        self.push(0xdb, dst, src, off, 0);
    }

    /// As [`atomic_add`](Self::atomic_add), and `src` becomes the old value (Linux 5.12).
    pub(crate) fn atomic_fetch_add(&mut self, dst: Reg, off: i16, src: Reg) {
        self.push(0xdb, dst, src, off, ATOMIC_FETCH);
    }

    /// Exchanges `*(u64 *)(dst + off)` with `src`, with release semantics (Linux 5.12).
    pub(crate) fn exchange(&mut self, dst: Reg, off: i16, src: Reg) {
        self.push(0xdb, dst, src, off, ATOMIC_XCHG);
    }

    /// Stores `src` to `*(u64 *)(dst + off)` if that equals `r0`; `r0` becomes the old value (Linux
    /// 5.12).
    pub(crate) fn compare_exchange(&mut self, dst: Reg, off: i16, src: Reg) {
        self.push(0xdb, dst, src, off, ATOMIC_CMPXCHG);
    }

    /// Calls a helper.
    pub(crate) fn call(&mut self, helper: u32) {
        self.push(0x85, R0, R0, 0, helper as i32);
    }

    /// Calls a function of the kernel by its BTF type id (Linux 5.13).
    pub(crate) fn call_kernel_function(&mut self, id: u32) {
        self.push(0x85, R0, Reg(PSEUDO_KFUNC_CALL), 0, id as i32);
    }

    /// Returns `r0`.
    pub(crate) fn exit(&mut self) {
        self.push(EXIT, R0, R0, 0, 0);
    }

    /// Creates a label, which must be placed once.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label at the next instruction.
    pub(crate) fn place(&mut self, label: Label) {
        let here = self.code.len();
        if let Some(slot) = self.labels.get_mut(label.0) {
            *slot = Some(here);
        }
    }

    /// `if (reg COND imm) goto label`.
    pub(crate) fn jump_if(&mut self, cond: Cond, reg: Reg, imm: i32, label: Label) {
        self.jumps.push(Jump { at: self.code.len(), target: label });
        self.push(0x05 | cond as u8, reg, R0, 0, imm);
    }

    /// `if (reg COND other) goto label`.
    pub(crate) fn jump_if_reg(&mut self, cond: Cond, reg: Reg, other: Reg, label: Label) {
        self.jumps.push(Jump { at: self.code.len(), target: label });
        self.push(0x0d | cond as u8, reg, other, 0, 0);
    }

    /// `goto label`.
    pub(crate) fn jump(&mut self, label: Label) {
        self.jumps.push(Jump { at: self.code.len(), target: label });
        self.push(GOTO, R0, R0, 0, 0);
    }

    /// Returns the finished code without unreachable instructions, which the kernel would reject.
    pub(crate) fn finish(self) -> Result<Vec<Insn>, JumpError> {
        let mut targets: Vec<Option<usize>> = vec![None; self.code.len()];
        for jump in &self.jumps {
            let target = self.labels.get(jump.target.0).copied().flatten().ok_or(JumpError)?;
            *targets.get_mut(jump.at).ok_or(JumpError)? = Some(target);
        }
        let reachable = self.reachable(&targets)?;
        // The new position of each instruction: the number of reachable instructions before it.
        let mut new_positions = Vec::with_capacity(reachable.len() + 1);
        let mut kept = 0i64;
        for is_reachable in &reachable {
            new_positions.push(kept);
            kept += i64::from(*is_reachable);
        }
        let mut out = Vec::new();
        for ((insn, target), (is_reachable, here)) in
            self.code.iter().zip(&targets).zip(reachable.iter().zip(&new_positions))
        {
            if !is_reachable {
                continue;
            }
            let mut insn = *insn;
            if let Some(target) = target {
                let distance = new_positions.get(*target).ok_or(JumpError)? - here - 1;
                insn.off = i16::try_from(distance).map_err(|_| JumpError)?;
            }
            out.push(insn);
        }
        Ok(out)
    }

    /// Returns the finished code of a prologue, which falls through to the program that is appended
    /// to it.
    pub(crate) fn finish_prologue(mut self) -> Result<Vec<Insn>, JumpError> {
        // Stands for the program, so that the code does not run over its end.
        self.exit();
        let mut code = self.finish()?;
        code.pop();
        Ok(code)
    }

    /// Returns, for each instruction, whether it is reachable.
    fn reachable(&self, targets: &[Option<usize>]) -> Result<Vec<bool>, JumpError> {
        let mut reachable = vec![false; self.code.len()];
        let mut pending = vec![0];
        while let Some(mut at) = pending.pop() {
            loop {
                let (Some(insn), Some(seen)) = (self.code.get(at), reachable.get_mut(at)) else {
                    return Err(JumpError);
                };
                if std::mem::replace(seen, true) {
                    break;
                }
                pending.extend(targets.get(at).copied().flatten());
                match insn.code {
                    EXIT | GOTO => break,
                    LD_IMM64 => {
                        *reachable.get_mut(at + 1).ok_or(JumpError)? = true;
                        at += 2;
                    }
                    _ => at += 1,
                }
            }
        }
        Ok(reachable)
    }
}

impl Insn {
    /// Returns true if the instruction loads 64 bits, whose upper half is in the next slot.
    pub(crate) fn is_wide(self) -> bool {
        self.code == LD_IMM64
    }

    /// Decodes an instruction.
    pub(crate) fn from_bytes(raw: [u8; 8]) -> Insn {
        let [code, registers, off0, off1, imm @ ..] = raw;
        Insn {
            code,
            dst: registers & 0xf,
            src: registers >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes(imm),
        }
    }

    /// Encodes the instruction for little-endian hosts.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let mut out = [0; 8];
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        out[0] = self.code;
        out[1] = self.src << 4 | self.dst;
        out[2..4].copy_from_slice(&off);
        out[4..8].copy_from_slice(&imm);
        out
    }
}

impl fmt::Debug for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x} r{} r{} {:+} {:#x}", self.code, self.dst, self.src, self.off, self.imm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_offsets_count_from_the_next_instruction() {
        let mut asm = Assembler::default();
        let (end, back) = (asm.label(), asm.label());
        asm.place(back);
        asm.jump_if(Cond::Eq, R1, 5, end);
        asm.jump(back);
        asm.place(end);
        asm.exit();
        let code = asm.finish().unwrap();
        assert_eq!(code.iter().map(|i| i.off).collect::<Vec<_>>(), [1, -2, 0]);
        assert_eq!(code[0].to_bytes(), [0x15, 0x01, 1, 0, 5, 0, 0, 0]);
        assert_eq!(code.iter().map(|i| Insn::from_bytes(i.to_bytes())).collect::<Vec<_>>(), code);
    }

    #[test]
    fn removes_unreachable_code() {
        let mut asm = Assembler::default();
        let (end, never) = (asm.label(), asm.label());
        asm.jump_if(Cond::Eq, R1, 5, end);
        asm.jump(end);
        asm.mov_imm64(R2, 1 << 40);
        asm.place(never);
        asm.jump(never);
        asm.place(end);
        asm.mov_imm64(R0, 1 << 40);
        asm.exit();
        let code = asm.finish().unwrap();
        let shape: Vec<(u8, i16)> = code.iter().map(|i| (i.code, i.off)).collect();
        assert_eq!(shape, [(0x15, 1), (0x05, 0), (0x18, 0), (0, 0), (0x95, 0)]);
    }

    #[test]
    fn rejects_code_that_runs_over_its_end() {
        let mut asm = Assembler::default();
        asm.mov_imm(R0, 0);
        assert_eq!(asm.finish(), Err(JumpError));
    }

    #[test]
    fn rejects_a_label_that_is_not_placed() {
        let mut asm = Assembler::default();
        let label = asm.label();
        asm.jump(label);
        assert_eq!(asm.finish(), Err(JumpError));
    }

    #[test]
    fn numbers_of_more_than_32_bits_take_two_slots() {
        let mut asm = Assembler::default();
        asm.mov_imm64(R2, 0x1_0000_0002);
        asm.mov_imm64(R2, -1);
        asm.exit();
        let code = asm.finish().unwrap();
        assert_eq!(code.len(), 4);
        assert_eq!((code[0].imm, code[1].imm, code[2].imm), (2, 1, -1));
    }
}
