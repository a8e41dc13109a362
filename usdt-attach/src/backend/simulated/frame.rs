//! The frame of a simulated program: what its read operations do, and the keys that it writes.

use super::Hit;
use crate::plan::record_layout::FAULTS;
use crate::plan::{Address, ArgSlot, FrameRegion, Guard, GuardTest, GuardWord, KeyWrite, ReadOp};

/// What the helper `bpf_get_current_pid_tgid` returns.
pub(super) fn pid_tgid(hit: &Hit) -> u64 {
    u64::from(hit.pid) << 32 | u64::from(hit.tid)
}

pub(super) fn put(area: &mut [u8], at: u32, value: u64) {
    if let Some(slot) = area.get_mut(at as usize..).and_then(|rest| rest.first_chunk_mut::<8>()) {
        *slot = value.to_le_bytes();
    }
}

pub(super) fn word(area: &[u8], at: usize) -> u64 {
    let raw = area.get(at..).and_then(|rest| rest.first_chunk::<8>());
    raw.map_or(0, |raw| u64::from_le_bytes(*raw))
}

pub(super) fn faults(area: &[u8]) -> u32 {
    ArgSlot { at: FAULTS, size: 4, signed: false, fault: None }.read(area).unwrap_or(0) as u32
}

fn set_fault(area: &mut [u8], bit: u8) {
    let low = ArgSlot { at: 0, size: 4, signed: false, fault: None }.read(area).unwrap_or(0);
    let faults = u64::from(faults(area) | 1 << bit);
    put(area, 0, faults << 32 | low);
}

/// The bytes of a frame region after its writes.
pub(super) fn region(frame: &mut [u8], region: &FrameRegion) -> Vec<u8> {
    for write in &region.writes {
        match *write {
            KeyWrite::Constant { to, value } => put(frame, to, value.into()),
            KeyWrite::Slot { to, from } => {
                let value = from.read(frame).unwrap_or(0);
                put(frame, to, value);
            }
            KeyWrite::Difference { to, from, subtract } => {
                let [from, subtract] = [from, subtract].map(|slot| slot.read(frame).unwrap_or(0));
                put(frame, to, from.wrapping_sub(subtract));
            }
        }
    }
    frame.get(region.at as usize..(region.at + region.size) as usize).unwrap_or_default().to_vec()
}

/// The effective address of an operand; `None` if a pointer that it dereferences cannot be read.
fn address(hit: &Hit, from: &Address) -> Option<u64> {
    let register = |offset: i16| hit.registers.get(&offset).copied().unwrap_or(0);
    let index = from.index.map_or(0, |(offset, scale)| register(offset).wrapping_mul(scale.into()));
    let mut at =
        from.base.map_or(0, register).wrapping_add(index).wrapping_add(from.first_offset() as u64);
    for offset in from.offsets_after_deref() {
        let pointer = read(hit, at, 8)?.first_chunk::<8>()?;
        at = u64::from_le_bytes(*pointer).wrapping_add(offset as u64);
    }
    Some(at)
}

/// `len` bytes of memory; `None` if not all of them are there.
pub(super) fn read(hit: &Hit, at: u64, len: usize) -> Option<&[u8]> {
    let (start, bytes) = hit.memory.range(..=at).next_back()?;
    let from = usize::try_from(at - start).ok()?;
    bytes.get(from..from.checked_add(len)?)
}

/// A C string including its NUL, truncated to `max` bytes: what `bpf_probe_read_user_str` writes.
pub(super) fn read_c_string(hit: &Hit, at: u64, max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while out.len() + 1 < max {
        match read(hit, at.wrapping_add(out.len() as u64), 1)? {
            [0] => break,
            byte => out.extend(byte),
        }
    }
    out.push(0);
    Some(out)
}

fn write(area: &mut [u8], to: u32, bytes: &[u8]) {
    if let Some(slot) = area.get_mut(to as usize..).and_then(|rest| rest.get_mut(..bytes.len())) {
        slot.copy_from_slice(bytes);
    }
}

/// Whether a guard holds; `None` if its word cannot be read.
fn holds(hit: &Hit, guard: &Guard) -> Option<bool> {
    let register = |offset: i16| hit.registers.get(&offset).copied().unwrap_or(0);
    let word = match &guard.word {
        GuardWord::Register(from) => register(*from),
        GuardWord::Memory(from) => {
            u64::from_le_bytes(*read(hit, address(hit, from)?, 8)?.first_chunk::<8>()?)
        }
    };
    Some(match guard.test {
        GuardTest::Above(index) => word as i64 > index,
        GuardTest::NotZero => word != 0,
        GuardTest::Equal { register: from, distance } => {
            word == register(from).wrapping_add(distance as u64)
        }
    })
}

/// Executes read operations, which write to `area`.
pub(super) fn execute(hit: &Hit, area: &mut [u8], reads: &[ReadOp]) {
    for op in reads {
        match op {
            ReadOp::Constant { to, value } => put(area, *to, *value as u64),
            ReadOp::Register { to, from } => {
                put(area, *to, hit.registers.get(from).copied().unwrap_or(0));
            }
            ReadOp::Memory { to, len, from, fault } => {
                match address(hit, from).and_then(|at| read(hit, at, *len as usize)) {
                    Some(bytes) => write(area, *to, bytes),
                    None => set_fault(area, *fault),
                }
            }
            ReadOp::Guarded { to, len, guards, fault, missing, read } => {
                write(area, *to, &vec![0; *len as usize]);
                match guards.iter().map(|guard| holds(hit, guard)).find(|held| *held != Some(true))
                {
                    None => execute(hit, area, std::slice::from_ref(read)),
                    Some(held) => {
                        set_fault(area, *fault);
                        if held.is_some() {
                            set_fault(area, *missing);
                        }
                    }
                }
            }
            ReadOp::String { to, max, pointer, length, fault, .. } => {
                let word = |at| {
                    let slot = ArgSlot { at, size: 8, signed: false, fault: None };
                    slot.read(area).unwrap_or(0)
                };
                let pointer = word(*pointer);
                let string = match length {
                    Some(length) => {
                        let is_signed = length.signed;
                        let length = length.read(area).unwrap_or(0);
                        if is_signed && (length as i64) < 0 {
                            write(area, *to, &(length as u32).to_le_bytes());
                            continue;
                        }
                        let length = length.min((*max).into());
                        write(area, *to, &(length as u32).to_le_bytes());
                        read(hit, pointer, length as usize).map(<[u8]>::to_vec)
                    }
                    None => read_c_string(hit, pointer, *max as usize),
                };
                let Some(string) = string else {
                    if length.is_none() {
                        write(area, *to, &(-libc::EFAULT).to_le_bytes());
                    }
                    set_fault(area, *fault);
                    continue;
                };
                write(area, *to, &(string.len() as u32).to_le_bytes());
                write(area, to + 8, &string);
            }
            ReadOp::PidTgid { to } => put(area, *to, pid_tgid(hit)),
            ReadOp::Comm { to } => {
                let comm: Vec<u8> =
                    hit.comm.bytes().take(15).chain(std::iter::repeat(0)).take(16).collect();
                write(area, *to, &comm);
            }
            ReadOp::Stack { to, frames } => {
                let stack = hit.stack.iter().take(*frames as usize);
                put(area, *to, stack.len() as u64 * 8);
                stack
                    .enumerate()
                    .for_each(|(i, address)| put(area, to + 8 + 8 * i as u32, *address));
            }
        }
    }
}
