//! Read operations: how a BPF program copies operands into a region, which is a record or a frame
//! on its stack.
//!
//! Values are copied unchanged, as 8 bytes of a register or as the bytes in memory. They are cut to
//! size and sign-extended when they are used; see [`ArgSlot::read`].
//!
//! # Fault bits
//!
//! The 32 bits at offset [`FAULTS`] of a region say which reads of user memory failed. Each read
//! has a bit, and a second one if its value may not exist; if a region needs more than 32 bits, the
//! last ones share bit 31.

use super::arguments::{OperandGuard, OperandResult, OperandTest, ResolvedOperand};
use super::pt_regs;
use serde::Serialize;
use stapsdt::argspec::{Arch, Expr, Operand, Register, RegisterId, Value};

/// Offset of the fault bits in a record and in a frame.
pub(crate) const FAULTS: u32 = 4;

/// The fault bit that several reads may share.
pub(crate) const SHARED_FAULT: u8 = 31;

/// One operation that fills a part of a region. `to` is the offset in the region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReadOp {
    /// Stores a number as 8 bytes.
    Constant { to: u32, value: i64 },
    /// Stores a register as 8 bytes.
    Register {
        to: u32,
        /// Offset of the register in `pt_regs`.
        from: i16,
    },
    /// Copies user memory.
    Memory {
        to: u32,
        /// Number of bytes.
        len: u32,
        from: Address,
        /// Number of the fault bit.
        fault: u8,
    },
    /// Executes another operation if all guards hold.
    Guarded {
        /// The region that the other operation fills; it is zero if a guard does not hold. The first
        /// 8 bytes are where words of guards are read to.
        to: u32,
        len: u32,
        /// In the order in which they are tested: reading a word is safe if those before it hold.
        guards: Vec<Guard>,
        /// Number of the fault bit that is set if a guard does not hold or cannot be tested.
        fault: u8,
        /// Number of the fault bit that is set if a guard does not hold.
        missing: u8,
        read: Box<ReadOp>,
    },
    /// Copies a string: its length as `u32`, 4 unused bytes, then its bytes. The length of a C
    /// string includes its NUL.
    String {
        to: u32,
        /// Number of bytes copied at most.
        max: u32,
        /// Offset in the region of the pointer to the string.
        pointer: u32,
        /// The length, in the region; `None` for a C string. Nothing is copied if it is negative,
        /// and the length stored at `to` is then negative, too.
        length: Option<ArgSlot>,
        /// Number of the fault bit.
        fault: u8,
        /// True if the program brings the string into memory, where the kernel lets it sleep.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        fault_in: bool,
    },
    /// Stores the thread id and the process id, 4 bytes each.
    PidTgid { to: u32 },
    /// Stores the name of the thread, 16 bytes.
    Comm { to: u32 },
    /// Stores the user stack: the number of bytes written or a negative error number as 8 bytes,
    /// then return addresses.
    Stack {
        to: u32,
        /// Number of addresses at most.
        frames: u32,
    },
}

/// A condition without which a value does not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Hash)]
pub(crate) struct Guard {
    /// The word that is tested.
    pub word: GuardWord,
    /// The test.
    pub test: GuardTest,
}

/// A word of 8 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuardWord {
    /// A register, given by its offset in `pt_regs`.
    Register(i16),
    /// User memory.
    Memory(Address),
}

/// The test of a [`Guard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuardTest {
    /// The word is a signed number above this one.
    Above(i64),
    /// The word is not zero.
    NotZero,
    /// The word is the sum of the register at an offset in `pt_regs` and a number.
    Equal { register: i16, distance: i64 },
}

/// An address in user memory: `base + index * scale + disp`.
///
/// With a dereference chain, `base + index * scale` plus the first offset of the chain is the
/// address of a pointer. Each further offset, and finally `disp`, is added to the address that the
/// previous pointer holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Hash)]
pub(crate) struct Address {
    /// Offset of the base register in `pt_regs`; `None` if there is no base.
    pub base: Option<i16>,
    /// Offset of the index register in `pt_regs`, and the scale.
    pub index: Option<(i16, u8)>,
    /// Offsets of the pointers to follow.
    pub deref_chain: Vec<i64>,
    /// The last offset.
    pub disp: i64,
}

/// A number in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct ArgSlot {
    /// Offset of the least significant byte in the region.
    pub at: u32,
    /// Size in bytes: 1, 2, 4, 8 or 16.
    pub size: u8,
    /// True for two's complement.
    pub signed: bool,
    /// Fault bit of the read that copied the number; `None` if that read cannot fail.
    pub fault: Option<u8>,
}

impl ArgSlot {
    /// Returns the 16 bytes of a slot of this size; `None` for other sizes and if the region is too
    /// short.
    pub(crate) fn read_wide(self, region: &[u8]) -> Option<u128> {
        let bytes = region.get(self.at as usize..)?.first_chunk::<16>()?;
        (self.size == 16).then(|| u128::from_le_bytes(*bytes))
    }

    /// Returns the number, sign-extended if it is signed; `None` if the region is too short or the
    /// slot has more than 8 bytes.
    pub(crate) fn read(self, region: &[u8]) -> Option<u64> {
        if self.size > 8 {
            return None;
        }
        let at = self.at as usize;
        let bytes = region.get(at..at.checked_add(self.size.into())?)?;
        let raw = bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let unused = 64 - 8 * u32::from(self.size);
        Some(if self.signed { ((raw << unused) as i64 >> unused) as u64 } else { raw })
    }
}

/// Lays out a region and collects the operations that fill it.
pub(super) struct LayoutBuilder {
    /// Size of the region so far.
    pub(super) end: u32,
    pub(super) reads: Vec<ReadOp>,
    /// Number of fault bits handed out.
    faults: u8,
}

/// A memory operand that may be read together with its neighbors.
struct Pending {
    /// Index of the operand.
    index: usize,
    size: u8,
    signed: bool,
    address: Address,
    guards: Vec<Guard>,
}

impl LayoutBuilder {
    /// Begins a region whose first `start` bytes are a header.
    pub(super) fn new(start: u32) -> LayoutBuilder {
        LayoutBuilder { end: start, reads: Vec::new(), faults: 0 }
    }

    /// Reserves space, rounded up to 8 bytes, and returns its offset.
    pub(super) fn reserve(&mut self, bytes: u32) -> u32 {
        let at = self.end;
        self.end += bytes.next_multiple_of(8);
        at
    }

    /// Returns an unused fault bit, or the last one if all are in use.
    pub(super) fn next_fault_bit(&mut self) -> u8 {
        let bit = self.faults.min(SHARED_FAULT);
        self.faults = self.faults.saturating_add(1);
        bit
    }

    /// Adds the operations that read all operands and returns their slots. One operation reads
    /// memory operands that are close together.
    pub(super) fn read_all(
        &mut self,
        operands: &[OperandResult],
        arch: Arch,
    ) -> Vec<Result<ArgSlot, String>> {
        let mut out: Vec<Result<ArgSlot, String>> = vec![Err(String::new()); operands.len()];
        let mut pending: Vec<Pending> = Vec::new();
        for (index, operand) in operands.iter().enumerate() {
            let result = match operand {
                Err(problem) => Err(problem.clone()),
                Ok(operand @ ResolvedOperand { value, .. }) => match guards(operand, arch) {
                    Ok(guards) if matches!(value.operand, Operand::Memory { .. }) => {
                        match operand_address(operand, arch) {
                            Ok(address) => {
                                let (size, signed) = (value.size, value.signed);
                                pending.push(Pending { index, size, signed, address, guards });
                                continue;
                            }
                            Err(problem) => Err(problem),
                        }
                    }
                    Ok(guards) => self.read_immediate(value, arch).map(|slot| {
                        let fault = self.guard_last(slot, guards);
                        ArgSlot { fault, ..slot }
                    }),
                    Err(problem) => Err(problem),
                },
            };
            if let Some(slot) = out.get_mut(index) {
                *slot = result;
            }
        }
        for (index, read) in self.read_memory(pending) {
            if let Some(slot) = out.get_mut(index) {
                *slot = Ok(read);
            }
        }
        out
    }

    /// Guards the last operation, which fills a slot of up to 8 bytes, and returns the fault bit;
    /// `None` without guards.
    fn guard_last(&mut self, slot: ArgSlot, guards: Vec<Guard>) -> Option<u8> {
        if guards.is_empty() {
            return slot.fault;
        }
        let read = self.reads.pop()?;
        let fault = self.next_fault_bit();
        let read = self.guarded(read, slot.at / 8 * 8, 8, fault, guards);
        self.reads.push(read);
        Some(fault)
    }

    /// Returns an operation with its guards.
    fn guarded(
        &mut self,
        read: ReadOp,
        to: u32,
        len: u32,
        fault: u8,
        guards: Vec<Guard>,
    ) -> ReadOp {
        if guards.is_empty() {
            return read;
        }
        let known = self.reads.iter().find_map(|read| match read {
            // The same guards have the same result.
            ReadOp::Guarded { guards: other, missing, .. } if *other == guards => Some(*missing),
            _ => None,
        });
        let missing = known.unwrap_or_else(|| self.next_fault_bit());
        ReadOp::Guarded { to, len, guards, fault, missing, read: Box::new(read) }
    }

    /// Returns the fault bit that says that the value of a slot does not exist; `None` if it always
    /// does.
    pub(super) fn missing_bit(&self, slot: ArgSlot) -> Option<u8> {
        self.reads.iter().find_map(|read| match read {
            ReadOp::Guarded { to, len, missing, .. } => {
                (*to..to + len).contains(&slot.at).then_some(*missing)
            }
            _ => None,
        })
    }

    /// Adds an operation that reads 8 bytes from a register or from memory. Returns false if the
    /// operand cannot be read.
    pub(super) fn read_word(&mut self, to: u32, operand: &Operand, arch: Arch) -> bool {
        let read = match operand {
            Operand::Register(register) => {
                pt_regs::offset(register.id, arch).map(|from| ReadOp::Register { to, from })
            }
            operand => address(operand, arch).ok().map(|from| ReadOp::Memory {
                to,
                len: 8,
                from,
                fault: self.next_fault_bit(),
            }),
        };
        let is_readable = read.is_some();
        self.reads.extend(read);
        is_readable
    }

    /// Reads a constant or a register.
    fn read_immediate(&mut self, value: &Value, arch: Arch) -> Result<ArgSlot, String> {
        if value.size > 8 {
            let spec = value.to_spec(arch);
            return Err(format!("`{spec}` has more bytes than a register; only memory holds them"));
        }
        let slot = |at| ArgSlot { at, size: value.size, signed: value.signed, fault: None };
        match &value.operand {
            Operand::Constant(Expr { symbol: None, offset }) => {
                let to = self.reserve(8);
                self.reads.push(ReadOp::Constant { to, value: *offset });
                Ok(slot(to))
            }
            Operand::Register(Register { id: RegisterId::Zero, .. }) => {
                let to = self.reserve(8);
                self.reads.push(ReadOp::Constant { to, value: 0 });
                Ok(slot(to))
            }
            Operand::Register(register) => {
                let from = pt_regs::offset(register.id, arch).ok_or_else(|| {
                    format!("`{}` is not in a general-purpose register", value.to_spec(arch))
                })?;
                let to = self.reserve(8);
                self.reads.push(ReadOp::Register { to, from });
                // `%ah` and its like have one byte, even if the note claims a larger size.
                let size = if register.shift == 0 { value.size } else { 1 };
                Ok(ArgSlot { size, ..slot(to + u32::from(register.shift) / 8) })
            }
            _ => Err(format!(
                "`{}` names a symbol, which is supported in memory operands only",
                value.to_spec(arch)
            )),
        }
    }

    /// Reads memory operands, neighbors in one operation. Returns each operand's index and slot.
    fn read_memory(&mut self, mut pending: Vec<Pending>) -> Vec<(usize, ArgSlot)> {
        /// Unused bytes between two operands at most: reading a few more bytes is cheaper than a
        /// second read.
        const MAX_GAP: i64 = 16;
        /// Bytes that one operation reads at most.
        const MAX_RUN: i64 = 256;
        pending.sort_by(|a, b| {
            let key = |p: &Pending| (p.address.base, p.address.index, p.address.disp);
            let chains = a.address.deref_chain.cmp(&b.address.deref_chain);
            a.guards.cmp(&b.guards).then(chains).then_with(|| key(a).cmp(&key(b)))
        });
        let mut out = Vec::new();
        let mut rest = pending.as_slice();
        while let Some((first, _)) = rest.split_first() {
            let start = first.address.disp;
            let mut end = start.saturating_add(i64::from(first.size));
            let mut count = 1;
            for next in rest.iter().skip(1) {
                let next_end = next.address.disp.saturating_add(i64::from(next.size));
                let gap = next.address.disp.saturating_sub(end);
                if next.guards != first.guards
                    || !next.address.differs_only_in_disp(&first.address)
                    || gap > MAX_GAP
                    || next_end.saturating_sub(start) > MAX_RUN
                {
                    break;
                }
                end = end.max(next_end);
                count += 1;
            }
            let (run, tail) = rest.split_at(count.min(rest.len()));
            rest = tail;
            // Fits: at most MAX_RUN, or the size of one operand.
            let len = end.saturating_sub(start) as u32;
            let to = self.reserve(len);
            let fault = self.next_fault_bit();
            let read = ReadOp::Memory { to, len, from: first.address.clone(), fault };
            let read = self.guarded(read, to, len, fault, first.guards.clone());
            self.reads.push(read);
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

/// Returns the guards of an operand.
fn guards(operand: &ResolvedOperand, arch: Arch) -> Result<Vec<Guard>, String> {
    let guard = |guard: &OperandGuard| {
        let word = match &guard.word.value.operand {
            Operand::Register(register) if register.shift == 0 => {
                pt_regs::offset(register.id, arch).map(GuardWord::Register)
            }
            _ => operand_address(&guard.word, arch).ok().map(GuardWord::Memory),
        };
        let test = match guard.test {
            OperandTest::HasIndex(index) => Some(GuardTest::Above(index)),
            OperandTest::IsNotNil => Some(GuardTest::NotZero),
            OperandTest::IsAtDistance(distance) => pt_regs::offset(RegisterId::Pc, arch)
                .map(|register| GuardTest::Equal { register, distance }),
        };
        word.zip(test).map(|(word, test)| Guard { word, test })
    };
    let guards: Option<Vec<Guard>> = operand.guards.iter().map(guard).collect();
    guards.ok_or_else(|| "it cannot be known whether it exists".to_owned())
}

/// Returns the address of a memory operand, with its dereferences.
fn operand_address(operand: &ResolvedOperand, arch: Arch) -> Result<Address, String> {
    Ok(address(&operand.value.operand, arch)?.deref(&operand.deref_offsets))
}

/// Returns the address of a memory operand, before any dereference.
pub(super) fn address(operand: &Operand, arch: Arch) -> Result<Address, String> {
    // `arguments::resolve_symbol` has replaced symbols by distances.
    let Operand::Memory { disp: Expr { symbol: None, offset }, base, index } = operand else {
        return Err("not a memory operand".to_owned());
    };
    let register = |r: &Register| {
        pt_regs::offset(r.id, arch)
            .ok_or("its address is not in a general-purpose register".to_owned())
    };
    Ok(Address {
        base: base.as_ref().map(register).transpose()?,
        index: index.as_ref().map(|i| register(&i.register).map(|r| (r, i.scale))).transpose()?,
        deref_chain: Vec::new(),
        disp: *offset,
    })
}

impl Address {
    /// Returns the offset that is added to the registers.
    pub(crate) fn first_offset(&self) -> i64 {
        self.deref_chain.first().copied().unwrap_or(self.disp)
    }

    /// Returns the offsets that are added to the pointers, in order.
    pub(crate) fn offsets_after_deref(&self) -> impl Iterator<Item = i64> {
        self.deref_chain.iter().copied().chain([self.disp]).skip(1)
    }

    /// Appends dereferences: for each offset, the address so far is that of a pointer.
    fn deref(mut self, offsets: &[i64]) -> Address {
        for offset in offsets {
            self.deref_chain.push(self.disp);
            self.disp = *offset;
        }
        self
    }

    fn differs_only_in_disp(&self, other: &Address) -> bool {
        (self.base, self.index, &self.deref_chain) == (other.base, other.index, &other.deref_chain)
    }
}
