//! Names of the dynamic types of interfaces. For an `error`, the message if the error's type begins
//! with it, else the name of the type.
//!
//! A BPF program reads the words of an interface and, of an `error`, the string that the data of the
//! most frequent types begins with: `*errors.errorString` and those of `fmt.Errorf`. Which type it
//! is becomes known here, from the type descriptors in the file that the process maps.

use super::constants::Constants;
use super::{Event, InterfaceValue, record_layout};
use crate::discover::process::{MappedRange, constant_range};
use crate::discover::{Mounts, Object};
use crate::plan::ArgSlot;
use crate::plan::record_layout::{InterfaceSlots, StringField};
use gobinary::GoBinary;
use gobinary::dynamic_type::ErrorData;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long an answer is used: the process may execute another file.
const MAX_AGE: Duration = Duration::from_secs(10);
/// The number of types that are looked up in this time. Interfaces with further ones are addresses.
const MAX_LOOKUPS: usize = 256;
/// The number of files that stay open for further look-ups.
const MAX_FILES: usize = 16;

/// The dynamic types of interfaces in processes.
#[derive(Default)]
pub(crate) struct DynamicTypes {
    known: HashMap<(u32, u64), Option<DynamicType>>,
    /// The files with the types that were found, which may outlive their processes.
    files: Vec<TypeFile>,
    mounts: Option<Mounts>,
    /// When `known` was last empty; `None` if nothing has been looked up.
    since: Option<Instant>,
}

/// A part of a file that a process maps.
struct TypeFile {
    pid: u32,
    range: MappedRange,
    object: Object,
}

/// What is known of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DynamicType {
    name: String,
    /// True if the data of an error of this type begins with the message.
    has_message: bool,
}

impl DynamicTypes {
    fn get(&mut self, pid: u32, ty: u64) -> Option<&DynamicType> {
        if self.since.is_none_or(|since| since.elapsed() > MAX_AGE) {
            self.known.clear();
            self.files.clear();
            self.mounts = None;
            self.since = Some(Instant::now());
        }
        if !self.known.contains_key(&(pid, ty)) {
            if self.known.len() == MAX_LOOKUPS {
                return None;
            }
            let found = self.look_up(pid, ty);
            self.known.insert((pid, ty), found);
        }
        self.known.get(&(pid, ty))?.as_ref()
    }

    /// Reads the type whose descriptor a process has at an address.
    fn look_up(&mut self, pid: u32, address: u64) -> Option<DynamicType> {
        let has_type = |file: &&TypeFile| {
            file.pid == pid && (file.range.start..file.range.end).contains(&address)
        };
        if let Some(file) = self.files.iter().find(has_type) {
            return file.dynamic_type(address);
        }
        let range = constant_range(pid, address).ok()??;
        let object = range.open(pid, self.mounts.get_or_insert_with(Mounts::new))?;
        let file = TypeFile { pid, range, object };
        let found = file.dynamic_type(address);
        if self.files.len() < MAX_FILES {
            self.files.push(file);
        }
        found
    }
}

impl TypeFile {
    fn dynamic_type(&self, address: u64) -> Option<DynamicType> {
        let bytes = self.object.bytes();
        let view = self.object.view(&bytes).ok()?;
        let offset = self.range.offset.checked_add(address.checked_sub(self.range.start)?)?;
        let linked = view.offset_to_vaddr(offset)?;
        let types = GoBinary::read(&bytes)?.dynamic_types()?;
        let has_message = types.error_data(linked) == ErrorData::Message;
        Some(DynamicType { name: types.name(linked)?, has_message })
    }
}

/// Returns a copy of a record in which the strings of its errors are right, and which has the names of
/// the dynamic types of its other interfaces; `None` if no type is known.
pub(super) fn complete(event: &Event<'_>, constants: &mut Constants) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    for view in &event.layout.args {
        let (Some(slots), Some(slot)) = (view.interface, view.slot) else { continue };
        let Some(InterfaceValue { first: 1.., ty }) = event.interface(slots) else { continue };
        let Some(known) = constants.types.get(event.pid, ty) else { continue };
        let out = out.get_or_insert_with(|| {
            let mut copy = event.record.to_vec();
            copy.resize(event.layout.size as usize, 0);
            copy
        });
        match view.string {
            Some(string) => put_error(out, slots, slot, string, known),
            None => put_name(out, slots, &known.name),
        }
    }
    out
}

/// Writes the message of an error, or the name of its type if the message is not known.
fn put_error(
    record: &mut [u8],
    slots: InterfaceSlots,
    slot: ArgSlot,
    string: StringField,
    known: &DynamicType,
) {
    put(record, slots.ty.at, &[0; 8]);
    if known.has_message {
        return;
    }
    let name = known.name.as_bytes();
    let copied = name.get(..string.max as usize).unwrap_or(name);
    // The pointer is only compared with zero.
    put(record, slot.at, &1u64.to_le_bytes());
    put(record, string.at, &(copied.len() as u32).to_le_bytes());
    put(record, string.at + 8, copied);
    let mut faults = slot.fault.map_or(0, |bit| 1u32 << bit) | 1 << string.fault;
    if let Some(length) = string.length {
        put(record, length.at, &(name.len() as u64).to_le_bytes());
        faults |= length.fault.map_or(0, |bit| 1 << bit);
    }
    let old = super::u32_at(record, record_layout::FAULTS).unwrap_or(0);
    put(record, record_layout::FAULTS, &(old & !faults).to_le_bytes());
}

/// Appends the name of a type to a record. Its offset and its length take the place of the type's
/// address.
fn put_name(record: &mut Vec<u8>, slots: InterfaceSlots, name: &str) {
    let place = u32::try_from(record.len()).ok().zip(u32::try_from(name.len()).ok());
    let Some((at, len)) = place else { return };
    record.extend(name.as_bytes());
    put(record, slots.ty.at, &(u64::from(at) << 32 | u64::from(len)).to_le_bytes());
}

/// Returns the name that [`complete`] has appended, given what is in the place of the type's address.
pub(super) fn name<'a>(event: &Event<'a>, place: u64) -> Option<&'a [u8]> {
    let (at, len) = ((place >> 32) as u32, place as u32);
    // A record that has no names is not longer than its layout.
    (at >= event.layout.size).then(|| super::slice(event.record, at, len as usize))?
}

fn put(record: &mut [u8], at: u32, bytes: &[u8]) {
    let at = at as usize;
    if let Some(to) = record.get_mut(at..at.saturating_add(bytes.len())) {
        to.copy_from_slice(bytes);
    }
}
