//! Lists of ranges and of locations.

use super::DebugInfoError;
use super::entry::{LocationAttribute, Reader};
use super::section::DebugSection;
use super::units::{Entries, Unit};
use crate::signature::{Placement, Register, RegisterPart};
use gimli::{
    DebugAddr, DebugAddrBase, DebugLoc, DebugLocLists, DebugRanges, DebugRngLists, EndianSlice,
    Expression, LittleEndian, LocationLists, LocationListsOffset, Operation, RangeLists,
    RangeListsOffset,
};
use stapsdt::argspec::Arch;
use stapsdt::elf::View;
use stapsdt::source::Source;

/// The number of items of lists that are read from a file.
const MAX_ITEMS: usize = 1 << 22;
/// The size in bytes of what is read of a location list. Lists of parameters have some hundred.
const MAX_LOCATION_LIST: u64 = 64 << 10;

/// The sections with lists, and the work that may still be done on them.
#[derive(Debug)]
pub(super) struct Lists<'a, S: Source<'a>> {
    /// Up to DWARF 4, and since DWARF 5.
    ranges: [Option<DebugSection<'a, S>>; 2],
    locations: [Option<DebugSection<'a, S>>; 2],
    items_left: usize,
}

fn damaged(_: gimli::Error) -> DebugInfoError {
    DebugInfoError::Damaged("a list of ranges or locations")
}

impl<'a, S: Source<'a>> Lists<'a, S> {
    pub(super) fn read(view: &View<'a, S>) -> Result<Lists<'a, S>, DebugInfoError> {
        let find = |name: &str| DebugSection::find(view, name);
        Ok(Lists {
            ranges: [find("debug_ranges")?, find("debug_rnglists")?],
            locations: [find("debug_loc")?, find("debug_loclists")?],
            items_left: MAX_ITEMS,
        })
    }

    fn count(&mut self) -> Result<(), DebugInfoError> {
        let left = self.items_left.checked_sub(1);
        self.items_left = left.ok_or(DebugInfoError::Limit("the number of ranges"))?;
        Ok(())
    }

    /// Returns true if an address is in one of a unit's ranges.
    pub(super) fn unit_contains(
        &mut self,
        unit: &Unit,
        address: u64,
        entries: &mut Entries<'a, S>,
    ) -> Result<bool, DebugInfoError> {
        let Some((offset, base)) = unit.ranges.zip(unit.low_pc) else { return Ok(false) };
        let is_new = unit.encoding.version >= 5;
        let Some(section) = &mut self.ranges[usize::from(is_new)] else { return Ok(false) };
        let section: Reader<'_> = EndianSlice::new(section.read_all()?, LittleEndian);
        let empty = EndianSlice::new(&[], LittleEndian);
        let (old, new) = if is_new { (empty, section) } else { (section, empty) };
        let lists = RangeLists::new(DebugRanges::from(old), DebugRngLists::from(new));
        let addresses = DebugAddr::from(EndianSlice::new(entries.addresses()?, LittleEndian));
        let addr_base = DebugAddrBase(unit.addr_base as usize);
        let offset = RangeListsOffset(offset as usize);
        let mut ranges =
            lists.ranges(offset, unit.encoding, base, &addresses, addr_base).map_err(damaged)?;
        let mut items = 0;
        let mut found = false;
        while let Some(range) = ranges.next().map_err(damaged)? {
            items += 1;
            found |= (range.begin..range.end).contains(&address);
            if found || items > self.items_left {
                break;
            }
        }
        for _ in 0..items {
            self.count()?;
        }
        Ok(found)
    }

    /// Returns where a variable is at an address, relative to the stack pointer at the entry of
    /// its function. [`Placement::Unknown`] if it is nowhere, only in part, or at a computed place.
    pub(super) fn placement(
        &mut self,
        location: &LocationAttribute,
        size: u64,
        unit: &Unit,
        address: u64,
        arch: Arch,
        entries: &mut Entries<'a, S>,
    ) -> Result<Placement, DebugInfoError> {
        let offset = match location {
            LocationAttribute::Expression(bytes) => {
                let expression = Expression(EndianSlice::new(bytes, LittleEndian));
                return evaluate(expression, size, unit, arch);
            }
            LocationAttribute::List(offset) => *offset,
        };
        self.count()?;
        let is_new = unit.encoding.version >= 5;
        let Some(section) = &mut self.locations[usize::from(is_new)] else {
            return Ok(Placement::Unknown);
        };
        let section = section.read_up_to(offset, MAX_LOCATION_LIST)?;
        let section: Reader<'_> = EndianSlice::new(section, LittleEndian);
        let empty = EndianSlice::new(&[], LittleEndian);
        let (old, new) = if is_new { (empty, section) } else { (section, empty) };
        let lists = LocationLists::new(DebugLoc::from(old), DebugLocLists::from(new));
        let addresses = DebugAddr::from(EndianSlice::new(entries.addresses()?, LittleEndian));
        let addr_base = DebugAddrBase(unit.addr_base as usize);
        let base = unit.low_pc.unwrap_or_default();
        let mut list = lists
            .locations(LocationListsOffset(0), unit.encoding, base, &addresses, addr_base)
            .map_err(damaged)?;
        while let Some(item) = list.next().map_err(damaged)? {
            if (item.range.begin..item.range.end).contains(&address) {
                return evaluate(item.data, size, unit, arch);
            }
        }
        Ok(Placement::Unknown)
    }
}

/// Evaluates a location that consists of registers, or of one place in the caller's frame.
fn evaluate(
    expression: Expression<Reader<'_>>,
    size: u64,
    unit: &Unit,
    arch: Arch,
) -> Result<Placement, DebugInfoError> {
    /// The number of operations, of which a value in registers needs two for each.
    const MAX_OPERATIONS: usize = 128;
    let mut operations = expression.operations(unit.encoding);
    let (mut parts, mut current, mut at) = (Vec::new(), None, 0u64);
    for _ in 0..MAX_OPERATIONS {
        let Some(operation) = operations.next().map_err(damaged)? else {
            break;
        };
        match operation {
            Operation::Register { register } => current = hardware_register(register.0, arch),
            Operation::CallFrameCFA if parts.is_empty() => {
                return Ok(in_frame(0, size, operations.next().map_err(damaged)?.is_none(), arch));
            }
            Operation::FrameOffset { offset } if parts.is_empty() && current.is_none() => {
                let is_whole = operations.next().map_err(damaged)?.is_none();
                return Ok(in_frame(offset, size, is_whole, arch));
            }
            Operation::Piece { size_in_bits, .. } => {
                let bytes = size_in_bits / 8;
                if let Some(register) = current.take() {
                    let size = bytes.min(8) as u8;
                    parts.push(RegisterPart { register, offset: at, size });
                }
                at = at.saturating_add(bytes);
            }
            _ => return Ok(Placement::Unknown),
        }
    }
    if let Some(register) = current
        && parts.is_empty()
        && size <= 8
    {
        parts.push(RegisterPart { register, offset: 0, size: size as u8 });
        at = size;
    }
    let is_whole = at == size && !parts.is_empty();
    Ok(if is_whole { Placement::Registers(parts) } else { Placement::Unknown })
}

/// Returns a place relative to the frame of the caller, the canonical frame address.
fn in_frame(offset: i64, size: u64, is_whole: bool, arch: Arch) -> Placement {
    if size == 0 {
        return Placement::Empty;
    }
    // Negative offsets are in the function's own frame, which does not exist yet at its entry.
    if !is_whole || offset < 0 {
        return Placement::Unknown;
    }
    let (base, frame) = frame_address(arch);
    Placement::Memory { base, offset: frame.saturating_add(offset) }
}

/// Returns the hardware number of the stack pointer, and the distance in bytes from it to the
/// canonical frame address at the entry of a function.
pub(super) fn frame_address(arch: Arch) -> (u8, i64) {
    match arch {
        // The call pushed the return address.
        Arch::X86_64 => (4, 8),
        Arch::Aarch64 => (31, 0),
    }
}

/// Returns the register with a number of DWARF.
fn hardware_register(number: u16, arch: Arch) -> Option<Register> {
    /// The hardware numbers of the first registers of amd64 in the order of DWARF (System V ABI,
    /// figure 3.36).
    const AMD64: [u8; 8] = [0, 2, 1, 3, 6, 7, 5, 4];
    let number = u8::try_from(number).ok()?;
    match arch {
        Arch::X86_64 => match number {
            0..=7 => AMD64.get(usize::from(number)).copied().map(Register::Integer),
            8..=15 => Some(Register::Integer(number)),
            17..=32 => Some(Register::Float(number - 17)),
            _ => None,
        },
        Arch::Aarch64 => match number {
            0..=30 => Some(Register::Integer(number)),
            64..=95 => Some(Register::Float(number - 64)),
            _ => None,
        },
    }
}
