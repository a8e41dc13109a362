//! Offsets of fields in kernel structs and numbers of kernel functions, from the type information of the running kernel (BTF, see
//! `Documentation/bpf/btf.rst`).
//!
//! The file has about five megabytes, of which a few names and one struct are needed. It is read in
//! pieces of 64 KiB, and nothing is kept.

use super::kernel_types::KernelTypes;
#[cfg(any(test, fuzzing))]
use super::kernel_types::read_bytes_at;
use std::ops::Range;

const MAGIC: u16 = 0xeb9f;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Size in bytes of `struct btf_type`, and also of `struct btf_member`.
const TYPE: usize = 12;
/// `BTF_KIND_STRUCT`.
const STRUCT: u32 = 4;
/// `BTF_KIND_UNION`.
const UNION: u32 = 5;
/// `BTF_KIND_FUNC`.
const FUNC: u32 = 12;

/// Returns the byte offsets of fields in a struct of the running kernel; `None` if the kernel has
/// no BTF or a field is missing.
pub(super) fn field_offsets<const N: usize>(structure: &str, names: [&str; N]) -> Option<[u32; N]> {
    let kernel = KernelTypes::open().ok()?;
    find(&|at, to| kernel.read_at(at, to), structure, names)
}

/// Returns the type ids of functions of the running kernel, by which programs call them; `None` if
/// the kernel has no BTF or a function is missing.
pub(super) fn function_ids<const N: usize>(names: [&str; N]) -> Option<[u32; N]> {
    let kernel = KernelTypes::open().ok()?;
    find_functions(&|at, to| kernel.read_at(at, to), names)
}

/// A function that reads at an offset, possibly less than requested.
type Read<'a> = dyn Fn(u64, &mut [u8]) -> std::io::Result<usize> + 'a;

fn find<const N: usize>(read: &Read<'_>, structure: &str, fields: [&str; N]) -> Option<[u32; N]> {
    let sections = Sections::read(read)?;
    let wanted: Vec<&str> = std::iter::once(structure).chain(fields).collect();
    let offsets = name_offsets(read, &sections.strings, &wanted)?;
    let (structure, fields) = offsets.split_first()?;
    let members = struct_members(read, &sections.types, *structure)?;
    let mut found = vec![None; fields.len()];
    find_members(read, &sections.types, &members, (fields, &mut found), (0, MAX_NESTING))?;
    let mut out = [0; N];
    for (place, bits) in out.iter_mut().zip(found) {
        *place = bits? / 8;
    }
    Some(out)
}

/// How deep anonymous structs and unions may be nested.
const MAX_NESTING: u32 = 4;

/// Finds the offsets of members by name, in bits, also in anonymous structs and unions. `at` is the
/// offset of the struct in bits and the number of levels left.
fn find_members(
    read: &Read<'_>,
    types: &Range<u64>,
    members: &[u8],
    (names, found): (&[u32], &mut Vec<Option<u32>>),
    at: (u32, u32),
) -> Option<()> {
    let mut anonymous = Vec::new();
    for member in members.as_chunks::<TYPE>().0 {
        let (name, id, bits) = (word_at(member, 0)?, word_at(member, 4)?, word_at(member, 8)?);
        let bits = bits.checked_add(at.0)?;
        match names.iter().position(|wanted| *wanted == name) {
            Some(index) => *found.get_mut(index)? = Some(bits),
            None if name == 0 => anonymous.push((id, bits)),
            None => {}
        }
    }
    for (id, bits) in anonymous {
        if at.1 == 0 || !found.contains(&None) {
            break;
        }
        let inner = find_type(read, types, |this| this.id == id)?;
        if matches!(inner.kind(), STRUCT | UNION) {
            let inner = members_of(read, &inner)?;
            find_members(read, types, &inner, (names, found), (bits, at.1 - 1))?;
        }
    }
    Some(())
}

fn find_functions<const N: usize>(read: &Read<'_>, functions: [&str; N]) -> Option<[u32; N]> {
    let sections = Sections::read(read)?;
    let names = name_offsets(read, &sections.strings, &functions)?;
    let mut ids = [None; N];
    find_type(read, &sections.types, |this| {
        if this.kind() == FUNC
            && let Some(index) = names.iter().position(|name| *name == this.name)
            && let Some(place) = ids.get_mut(index)
        {
            *place = Some(this.id);
        }
        !ids.contains(&None)
    })?;
    let mut out = [0; N];
    for (place, id) in out.iter_mut().zip(ids) {
        *place = id?;
    }
    Some(out)
}

/// The places of the types and the strings in the file.
struct Sections {
    types: Range<u64>,
    strings: Range<u64>,
}

impl Sections {
    fn read(read: &Read<'_>) -> Option<Sections> {
        let mut header = [0; 24];
        fill(read, 0, &mut header)?;
        if u16::from_le_bytes(*header.first_chunk()?) != MAGIC {
            return None;
        }
        let word = |index: usize| word_at(&header, 4 * index).map(u64::from);
        let section = |index: usize| {
            let start = word(1)? + word(index)?;
            Some(start..start + word(index + 1)?)
        };
        Some(Sections { types: section(2)?, strings: section(4)? })
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|raw| u32::from_le_bytes(*raw))
}

/// Fills a buffer from an offset; `None` if the file is too short.
fn fill(read: &Read<'_>, at: u64, to: &mut [u8]) -> Option<()> {
    let mut done = 0;
    while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match read(at + done as u64, rest) {
            Ok(more) if more > 0 => done += more,
            _ => return None,
        }
    }
    Some(())
}

/// Returns the offsets of names in the string section; `None` if one is missing.
fn name_offsets(read: &Read<'_>, strings: &Range<u64>, wanted: &[&str]) -> Option<Vec<u32>> {
    let length = strings.end - strings.start;
    let needles: Vec<Vec<u8>> =
        wanted.iter().map(|name| format!("\0{name}\0").into_bytes()).collect();
    // Pieces overlap, because a name may lie across the end of a piece.
    let step = PIECE - (needles.iter().map(Vec::len).max()? - 1);
    let mut found = vec![None; wanted.len()];
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < length && found.contains(&None) {
        let size = usize::try_from(length - at).ok()?.min(PIECE);
        let bytes = piece.get_mut(..size)?;
        fill(read, strings.start + at, bytes)?;
        for (needle, place) in needles.iter().zip(&mut found) {
            let position = || memchr::memmem::find(bytes, needle);
            *place = place.or_else(|| u32::try_from(at + 1 + position()? as u64).ok());
        }
        at += step as u64;
    }
    found.into_iter().collect()
}

/// A `struct btf_type`.
struct Type {
    /// The number of the type: types are counted from 1.
    id: u32,
    /// Offset of the name in the string section.
    name: u32,
    /// Kind, flag and number of members.
    info: u32,
    /// Position in the file of what follows the type: members or parameters.
    more_at: u64,
    /// Length of what follows the type.
    more: u64,
}

impl Type {
    fn kind(&self) -> u32 {
        self.info >> 24 & 31
    }
}

/// Returns the first type for which `is_wanted` returns true.
fn find_type(
    read: &Read<'_>,
    types: &Range<u64>,
    mut is_wanted: impl FnMut(&Type) -> bool,
) -> Option<Type> {
    let (mut id, end) = (0, types.end);
    let (mut piece, mut piece_at, mut piece_size) = (vec![0; PIECE], 0, 0usize);
    let mut at = types.start;
    while at < end {
        id += 1;
        if at + TYPE as u64 > piece_at + piece_size as u64 {
            (piece_at, piece_size) = (at, usize::try_from(end - at).ok()?.min(PIECE));
            fill(read, at, piece.get_mut(..piece_size)?)?;
        }
        let this = piece.get(usize::try_from(at - piece_at).ok()?..piece_size)?;
        let (name, info) = (word_at(this, 0)?, word_at(this, 4)?);
        let (kind, count) = (info >> 24 & 31, info & 0xffff);
        let more = u64::from(match kind {
            // BTF_KIND_INT, VAR, DECL_TAG.
            1 | 14 | 17 => 4,
            // BTF_KIND_ARRAY.
            3 => 12,
            // BTF_KIND_STRUCT, UNION, DATASEC, ENUM64.
            STRUCT | UNION | 15 | 19 => 12 * count,
            // BTF_KIND_ENUM, FUNC_PROTO.
            6 | 13 => 8 * count,
            // BTF_KIND_PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG.
            2 | 7..=12 | 16 | 18 => 0,
            // A kind of a later kernel, whose size is not known.
            _ => return None,
        });
        let this = Type { id, name, info, more_at: at + TYPE as u64, more };
        at = this.more_at + more;
        if is_wanted(&this) {
            return Some(this);
        }
    }
    None
}

/// Returns the members of a struct, given the offset of its name in the string section.
fn struct_members(read: &Read<'_>, types: &Range<u64>, name: u32) -> Option<Vec<u8>> {
    members_of(read, &find_type(read, types, |this| this.kind() == STRUCT && this.name == name)?)
}

fn members_of(read: &Read<'_>, this: &Type) -> Option<Vec<u8>> {
    let mut members = vec![0; usize::try_from(this.more).ok()?];
    fill(read, this.more_at, &mut members)?;
    // With `kind_flag`, the upper 8 bits of a member's offset are the size of its bit-field.
    if this.info >> 31 == 1 {
        members.as_chunks_mut::<TYPE>().0.iter_mut().for_each(|member| member[11] = 0);
    }
    Some(members)
}

/// Looks up names in a file.
#[cfg(fuzzing)]
pub(super) fn look_up(file: &[u8]) {
    let read = |at: u64, to: &mut [u8]| read_bytes_at(file, at, to);
    find(&read, "a", ["b", "c"]);
    find_functions(&read, ["a", "b"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    /// An integer, a pointer, and a struct with two members.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0other\0task\0comm\0";
        let types: [u32; 7 + 3 + 9] = [
            1,
            1 << 24,
            4,
            32,
            0,
            2 << 24,
            1,
            11,
            0x8400_0002,
            16,
            5,
            1,
            8,
            16,
            1,
            0x0500_0040,
            0,
            0,
            0,
        ];
        let types = types.map(u32::to_le_bytes).concat();
        let header =
            [0x0001_eb9f, 24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
        [header.map(u32::to_le_bytes).concat(), types, strings.to_vec()].concat()
    }

    fn in_bytes(bytes: &[u8], structure: &str, name: &str) -> Option<u32> {
        let read = |at: u64, to: &mut [u8]| {
            // read(2) may return less than requested.
            let size = to.len().min(7);
            read_bytes_at(bytes, at, &mut to[..size])
        };
        find(&read, structure, [name]).map(|[offset]| offset)
    }

    #[test]
    fn finds_fields_of_structs() {
        let sample = sample();
        assert_eq!(in_bytes(&sample, "task", "comm"), Some(8));
        assert_eq!(in_bytes(&sample, "task", "other"), Some(1));
        assert_eq!(in_bytes(&sample, "task", "int"), None);
        assert_eq!(in_bytes(&sample, "comm", "comm"), None);
        assert_eq!(in_bytes(&sample, "task", "absent"), None);
        let read = |at: u64, to: &mut [u8]| (&sample[at as usize..]).read(to);
        assert_eq!(find(&read, "task", ["comm", "other"]), Some([8, 1]));
        assert_eq!(find(&read, "task", ["comm", "absent"]), None);
    }

    #[test]
    fn finds_functions() {
        let mut sample = sample();
        // The integer becomes a function, which has no members.
        sample[24 + 4..24 + 8].copy_from_slice(&(FUNC << 24).to_le_bytes());
        sample.drain(24 + 12..24 + 16);
        for section in [12, 16] {
            let length = u32::from_le_bytes(*sample[section..].first_chunk().unwrap()) - 4;
            sample[section..section + 4].copy_from_slice(&length.to_le_bytes());
        }
        let read = |at: u64, to: &mut [u8]| (&sample[at as usize..]).read(to);
        assert_eq!(find_functions(&read, ["int"]), Some([1]));
        assert_eq!(find_functions(&read, ["int", "task"]), None);
        assert_eq!(find(&read, "task", ["comm", "other"]), Some([8, 1]));
    }

    #[test]
    fn finds_fields_of_task_struct_in_this_kernel() {
        if KernelTypes::open().is_err() {
            return;
        }
        assert_eq!(field_offsets("list_head", ["prev", "next"]), Some([8, 0]));
        // Since Linux 6.13, it is in a struct without a name in a union without one.
        assert_eq!(field_offsets("vm_area_struct", ["vm_start", "vm_end"]), Some([0, 8]));
        let task = field_offsets("task_struct", ["comm", "pid", "tgid"]);
        assert!(
            task.is_some_and(|[comm, pid, tgid]| comm > 64 && comm % 8 == 0 && tgid == pid + 4),
            "{task:?}"
        );
        assert_eq!(field_offsets("task_struct", ["no_such_field_of_it"]), None);
    }

    proptest! {
        #[test]
        fn never_panics_on_damaged_btf(at in 0usize..200, value: u8, cut in 0usize..200) {
            let mut bytes = sample();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut % 150));
            in_bytes(&bytes, "task", "comm");
        }
    }
}
