//! BPF instructions and an assembler with labels (`Documentation/bpf/standardization/instruction-set.rst`).

use std::fmt;

/// One 64-bit instruction slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register.
    pub dst: u8,
    /// Source register.
    pub src: u8,
    /// Signed offset.
    pub off: i16,
    /// Immediate.
    pub imm: i32,
}

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

/// Return value of helpers, and of the program.
pub const R0: Reg = Reg(0);
/// First helper argument.
pub const R1: Reg = Reg(1);
/// Second helper argument.
pub const R2: Reg = Reg(2);
/// Third helper argument.
pub const R3: Reg = Reg(3);
/// Kept across helper calls.
pub const R6: Reg = Reg(6);
/// Kept across helper calls.
pub const R7: Reg = Reg(7);
/// Kept across helper calls.
pub const R8: Reg = Reg(8);
/// Kept across helper calls.
pub const R9: Reg = Reg(9);
/// Frame pointer, read-only.
pub const R10: Reg = Reg(10);

/// Width of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 4 bytes.
    W = 0x00,
    /// 8 bytes.
    Dw = 0x18,
}

/// Condition of a jump; unsigned unless named otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    /// Equal.
    Eq = 0x10,
    /// Not equal.
    Ne = 0x50,
    /// Greater.
    Gt = 0x20,
    /// Greater or equal.
    Ge = 0x30,
    /// Less or equal.
    Le = 0xb0,
    /// Less or equal, signed.
    Sle = 0xd0,
    /// Greater or equal, signed.
    Sge = 0x70,
}

/// A place to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Assembles instructions; jumps go to labels.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Insn>,
    /// Position of each label, once placed.
    labels: Vec<Option<usize>>,
    /// Jumps to be filled in: instruction, label.
    jumps: Vec<(usize, Label)>,
}

/// A jump farther than the 16-bit offset reaches, or to a label that was never placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadJump;

const LD_IMM64: u8 = 0x18;
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const ATOMIC_FETCH: i32 = 1;

impl Assembler {
    fn push(&mut self, code: u8, dst: Reg, src: Reg, off: i16, imm: i32) {
        self.code.push(Insn { code, dst: dst.0, src: src.0, off, imm });
    }

    /// Instructions so far.
    pub fn len(&self) -> usize {
        self.code.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.code.is_empty()
    }

    /// `dst = src`.
    pub fn mov(&mut self, dst: Reg, src: Reg) {
        self.push(0xbf, dst, src, 0, 0);
    }

    /// `dst = imm`, sign-extended.
    pub fn mov_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0xb7, dst, R0, 0, imm);
    }

    /// `dst = value`.
    pub fn mov_imm64(&mut self, dst: Reg, value: i64) {
        match i32::try_from(value) {
            Ok(imm) => self.mov_imm(dst, imm),
            Err(_) => self.wide(dst, R0, value as i32, (value >> 32) as i32),
        }
    }

    /// `dst = map`.
    pub fn map(&mut self, dst: Reg, fd: i32) {
        self.wide(dst, Reg(PSEUDO_MAP_FD), fd, 0);
    }

    /// `dst = &map[0]`, for array maps (Linux 5.2).
    pub fn map_value(&mut self, dst: Reg, fd: i32) {
        self.wide(dst, Reg(PSEUDO_MAP_VALUE), fd, 0);
    }

    fn wide(&mut self, dst: Reg, src: Reg, low: i32, high: i32) {
        self.push(LD_IMM64, dst, src, 0, low);
        self.push(0, R0, R0, 0, high);
    }

    /// `dst += src`.
    pub fn add(&mut self, dst: Reg, src: Reg) {
        self.push(0x0f, dst, src, 0, 0);
    }

    /// `dst += imm`.
    pub fn add_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x07, dst, R0, 0, imm);
    }

    /// `dst &= imm`.
    pub fn and_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x57, dst, R0, 0, imm);
    }

    /// `dst |= imm`, of 32 bits; the upper half becomes zero.
    pub fn or32_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x44, dst, R0, 0, imm);
    }

    /// `dst <<= bits`.
    pub fn shl(&mut self, dst: Reg, bits: i32) {
        self.push(0x67, dst, R0, 0, bits);
    }

    /// `dst >>= bits`, unsigned.
    pub fn shr(&mut self, dst: Reg, bits: i32) {
        self.push(0x77, dst, R0, 0, bits);
    }

    /// `dst = *(width *)(src + off)`.
    pub fn load(&mut self, width: Width, dst: Reg, src: Reg, off: i16) {
        self.push(0x61 | width as u8, dst, src, off, 0);
    }

    /// `*(width *)(dst + off) = src`.
    pub fn store(&mut self, width: Width, dst: Reg, off: i16, src: Reg) {
        self.push(0x63 | width as u8, dst, src, off, 0);
    }

    /// `*(width *)(dst + off) = imm`.
    pub fn store_imm(&mut self, width: Width, dst: Reg, off: i16, imm: i32) {
        self.push(0x62 | width as u8, dst, R0, off, imm);
    }

    /// `*(u64 *)(dst + off) += src`, atomically.
    pub fn atomic_add(&mut self, dst: Reg, off: i16, src: Reg) {
        self.push(0xdb, dst, src, off, 0);
    }

    /// The same; `src` becomes the value from before (Linux 5.12).
    pub fn atomic_fetch_add(&mut self, dst: Reg, off: i16, src: Reg) {
        self.push(0xdb, dst, src, off, ATOMIC_FETCH);
    }

    /// Calls a helper.
    pub fn call(&mut self, helper: u32) {
        self.push(0x85, R0, R0, 0, helper as i32);
    }

    /// Returns `r0`.
    pub fn exit(&mut self) {
        self.push(0x95, R0, R0, 0, 0);
    }

    /// A label, to be placed once.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label here.
    pub fn place(&mut self, label: Label) {
        let here = self.code.len();
        if let Some(slot) = self.labels.get_mut(label.0) {
            *slot = Some(here);
        }
    }

    /// `if (reg COND imm) goto label`.
    pub fn jump_if(&mut self, cond: Cond, reg: Reg, imm: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(0x05 | cond as u8, reg, R0, 0, imm);
    }

    /// `goto label`.
    pub fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(0x05, R0, R0, 0, 0);
    }

    /// The finished code.
    pub fn finish(mut self) -> Result<Vec<Insn>, BadJump> {
        for (at, label) in &self.jumps {
            let target = self.labels.get(label.0).copied().flatten().ok_or(BadJump)?;
            let distance = target as i64 - *at as i64 - 1;
            let insn = self.code.get_mut(*at).ok_or(BadJump)?;
            insn.off = i16::try_from(distance).map_err(|_| BadJump)?;
        }
        Ok(self.code)
    }
}

impl Insn {
    /// From the 8 bytes of a compiled program.
    pub fn from_bytes(raw: [u8; 8]) -> Insn {
        let [code, registers, off0, off1, imm @ ..] = raw;
        Insn {
            code,
            dst: registers & 0xf,
            src: registers >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes(imm),
        }
    }

    /// The 8 bytes the kernel takes, little-endian hosts' layout.
    pub fn to_bytes(self) -> [u8; 8] {
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
    fn jumps_count_from_the_next_instruction() {
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
    fn a_label_that_is_nowhere_is_an_error() {
        let mut asm = Assembler::default();
        let label = asm.label();
        asm.jump(label);
        assert_eq!(asm.finish(), Err(BadJump));
    }

    #[test]
    fn wide_numbers_take_two_slots() {
        let mut asm = Assembler::default();
        asm.mov_imm64(R2, 0x1_0000_0002);
        asm.mov_imm64(R2, -1);
        let code = asm.finish().unwrap();
        assert_eq!(code.len(), 3);
        assert_eq!((code[0].imm, code[1].imm, code[2].imm), (2, 1, -1));
    }
}
