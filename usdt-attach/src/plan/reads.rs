//! Fetching: from operands to steps that a program carries out, on an area of memory that is a record of the
//! event buffer or a part of the program's stack.
//!
//! Words are stored as they are found, 8 bytes of a register or the bytes of memory; sizing and sign extension
//! are the reader's work. A read that fails sets its bit in the area's `faults`, the 32 bits at [`FAULTS`].

use super::arguments::{Place, ResolvedOperand};
use super::pt_regs;
use serde::Serialize;
use stapsdt::argspec::{Arch, Expr, Operand, Register, RegisterId, Value};

/// Offset of the fault bits in either area.
pub(crate) const FAULTS: u32 = 4;

/// One action of the program on an area. `to` is the offset in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReadOp {
    /// Stores a number.
    Constant {
        /// Offset.
        to: u32,
        /// The number.
        value: i64,
    },
    /// Stores a whole register.
    Register {
        /// Offset.
        to: u32,
        /// Offset in `pt_regs`.
        from: i16,
    },
    /// Copies user memory.
    Memory {
        /// Offset.
        to: u32,
        /// Bytes.
        len: u32,
        /// Where from.
        from: Address,
        /// Bit set in the faults when it fails.
        fault: u8,
    },
    /// Copies text that words of the area point to: its length as `u32`, then, 8 bytes on, its bytes.
    Text {
        /// Offset.
        to: u32,
        /// Most bytes copied.
        max: u32,
        /// The pointer.
        pointer: u32,
        /// The length; `None` for NUL-terminated text.
        length: Option<u32>,
        /// Bit set in the faults when it fails.
        fault: u8,
    },
    /// Stores the thread id and, 4 bytes on, the process id.
    PidTgid {
        /// Offset.
        to: u32,
    },
    /// Stores the thread's name, 16 bytes.
    Comm {
        /// Offset.
        to: u32,
    },
    /// Stores the user stack: bytes written (negative: an error) as a 64-bit number, then return addresses.
    Stack {
        /// Offset.
        to: u32,
        /// Most addresses.
        frames: u32,
    },
}

/// `base + index * scale + disp`, registers by their offset in `pt_regs`; or, with pointers on the way, `disp` behind
/// what the last of them points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Address {
    /// Base register.
    pub base: Option<i16>,
    /// Scaled register and scale.
    pub index: Option<(i16, u8)>,
    /// Where pointers on the way are: the first one at this distance from the registers' sum, each other one at this
    /// distance from what the one before it points to.
    pub through: Vec<i64>,
    /// Constant part.
    pub disp: i64,
}

/// A number in an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct ArgSlot {
    /// Offset of the least significant byte.
    pub at: u32,
    /// Bytes.
    pub size: u8,
    /// Two's complement.
    pub signed: bool,
    /// Fault bit of the read that brought it.
    pub fault: Option<u8>,
}

impl ArgSlot {
    /// Its value in an area, sign-extended if it has a sign.
    pub(crate) fn read(self, area: &[u8]) -> Option<u64> {
        let at = self.at as usize;
        let bytes = area.get(at..at.checked_add(self.size.into())?)?;
        let raw = bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let unused = 64 - 8 * u32::from(self.size);
        Some(if self.signed { ((raw << unused) as i64 >> unused) as u64 } else { raw })
    }
}

/// Lays out an area and collects the steps that fill it.
pub(super) struct Builder {
    pub(super) end: u32,
    pub(super) steps: Vec<ReadOp>,
    faults: u8,
}

/// A memory operand waiting to be read together with its neighbours.
struct Pending {
    index: usize,
    size: u8,
    signed: bool,
    address: Address,
}

impl Builder {
    /// For an area whose first `start` bytes are spoken for.
    pub(super) fn new(start: u32) -> Builder {
        Builder { end: start, steps: Vec::new(), faults: 0 }
    }

    /// Room for so many bytes.
    pub(super) fn take(&mut self, bytes: u32) -> u32 {
        let at = self.end;
        self.end += bytes.next_multiple_of(8);
        at
    }

    /// A fault bit of its own; the last one is shared when there are more reads than bits.
    pub(super) fn fault(&mut self) -> u8 {
        let bit = self.faults.min(31);
        self.faults = self.faults.saturating_add(1);
        bit
    }

    /// Reads every word; memory operands that are close together in one go.
    pub(super) fn words(&mut self, places: &[Place], arch: Arch) -> Vec<Result<ArgSlot, String>> {
        let mut out: Vec<Result<ArgSlot, String>> = vec![Err(String::new()); places.len()];
        let mut pending: Vec<Pending> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let word = match place {
                Err(problem) => Err(problem.clone()),
                Ok(ResolvedOperand { value, beyond }) => match &value.operand {
                    Operand::Memory { .. } => match address(&value.operand, arch) {
                        Ok(address) => {
                            let (size, signed, address) =
                                (value.size, value.signed, address.beyond(beyond));
                            pending.push(Pending { index, size, signed, address });
                            continue;
                        }
                        Err(problem) => Err(problem),
                    },
                    operand => self.immediate(value, operand, arch),
                },
            };
            if let Some(slot) = out.get_mut(index) {
                *slot = word;
            }
        }
        for (index, word) in self.runs(pending) {
            if let Some(slot) = out.get_mut(index) {
                *slot = Ok(word);
            }
        }
        out
    }

    /// Reads eight bytes from a register or from memory to a place; tells whether they can be read.
    pub(super) fn whole(&mut self, to: u32, operand: &Operand, arch: Arch) -> bool {
        let step = match operand {
            Operand::Register(register) => {
                pt_regs::offset(register.id, arch).map(|from| ReadOp::Register { to, from })
            }
            operand => address(operand, arch).ok().map(|from| ReadOp::Memory {
                to,
                len: 8,
                from,
                fault: self.fault(),
            }),
        };
        let readable = step.is_some();
        self.steps.extend(step);
        readable
    }

    fn immediate(
        &mut self,
        value: &Value,
        operand: &Operand,
        arch: Arch,
    ) -> Result<ArgSlot, String> {
        let word = |at| ArgSlot { at, size: value.size, signed: value.signed, fault: None };
        match operand {
            Operand::Constant(Expr { symbol: None, offset }) => {
                let to = self.take(8);
                self.steps.push(ReadOp::Constant { to, value: *offset });
                Ok(word(to))
            }
            Operand::Register(Register { id: RegisterId::Zero, .. }) => {
                let to = self.take(8);
                self.steps.push(ReadOp::Constant { to, value: 0 });
                Ok(word(to))
            }
            Operand::Register(register) => {
                let from = pt_regs::offset(register.id, arch).ok_or_else(|| {
                    format!("`{}` is in no general register", value.to_spec(arch))
                })?;
                let to = self.take(8);
                self.steps.push(ReadOp::Register { to, from });
                // Of `%ah` there is one byte, whatever size the note claims; behind it something else begins.
                let size = if register.shift == 0 { value.size } else { 1 };
                Ok(ArgSlot { size, ..word(to + u32::from(register.shift) / 8) })
            }
            _ => Err(format!("`{}` needs the symbol table", value.to_spec(arch))),
        }
    }

    fn runs(&mut self, mut pending: Vec<Pending>) -> Vec<(usize, ArgSlot)> {
        /// Reading across a gap is cheaper than a second read, as long as it is small.
        const GAP: i64 = 16;
        const LONGEST: i64 = 256;
        pending.sort_by(|a, b| {
            let key = |p: &Pending| (p.address.base, p.address.index, p.address.disp);
            a.address.through.cmp(&b.address.through).then_with(|| key(a).cmp(&key(b)))
        });
        let mut out = Vec::new();
        let mut rest = pending.as_slice();
        while let Some((first, _)) = rest.split_first() {
            let start = first.address.disp;
            let mut end = start.saturating_add(i64::from(first.size));
            let mut count = 1;
            for next in rest.iter().skip(1) {
                let apart_from_disp = |a: &Address| (a.base, a.index);
                let same = apart_from_disp(&next.address) == apart_from_disp(&first.address)
                    && next.address.through == first.address.through;
                let next_end = next.address.disp.saturating_add(i64::from(next.size));
                let apart = next.address.disp.saturating_sub(end);
                if !same || apart > GAP || next_end.saturating_sub(start) > LONGEST {
                    break;
                }
                end = end.max(next_end);
                count += 1;
            }
            let (run, tail) = rest.split_at(count.min(rest.len()));
            rest = tail;
            // At most LONGEST, or the size of one word.
            let len = end.saturating_sub(start) as u32;
            let to = self.take(len);
            let fault = self.fault();
            self.steps.push(ReadOp::Memory { to, len, from: first.address.clone(), fault });
            for p in run {
                let at = to + (p.address.disp - start) as u32;
                out.push((
                    p.index,
                    ArgSlot { at, size: p.size, signed: p.signed, fault: Some(fault) },
                ));
            }
        }
        out
    }
}

/// Where a memory operand is.
pub(super) fn address(operand: &Operand, arch: Arch) -> Result<Address, String> {
    // Symbols are distances from the site by now.
    let Operand::Memory { disp: Expr { symbol: None, offset }, base, index } = operand else {
        return Err("not in memory".to_owned());
    };
    let register = |r: &Register| {
        pt_regs::offset(r.id, arch).ok_or("its address is in no general register".to_owned())
    };
    Ok(Address {
        base: base.as_ref().map(register).transpose()?,
        index: index.as_ref().map(|i| register(&i.register).map(|r| (r, i.scale))).transpose()?,
        through: Vec::new(),
        disp: *offset,
    })
}

impl Address {
    /// The distance from the registers' sum.
    pub(crate) fn first(&self) -> i64 {
        self.through.first().copied().unwrap_or(self.disp)
    }

    /// Those from what each pointer points to.
    pub(crate) fn beyond_the_first(&self) -> impl Iterator<Item = i64> {
        self.through.iter().copied().chain([self.disp]).skip(1)
    }

    /// Follows the pointer there, and so on.
    fn beyond(mut self, distances: &[i64]) -> Address {
        for distance in distances {
            self.through.push(self.disp);
            self.disp = *distance;
        }
        self
    }
}
