//! Strings of Go errors: the message, if the error's type begins with it, else the name of the type.
//!
//! An `error` is an interface. A BPF program reads its words, and the string that the data of the
//! most frequent types begins with: `*errors.errorString` and those of `fmt.Errorf`. Which type it
//! is becomes known here, from the type descriptors in the file that the process maps.

use super::constants::Constants;
use super::{Event, InterfaceValue, record_layout};
use crate::discover::process::{MappedRange, constant_range};
use crate::discover::{Mounts, Object};
use gobinary::GoBinary;
use gobinary::dynamic_type::ErrorData;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long an answer is used: the process may execute another file.
const MAX_AGE: Duration = Duration::from_secs(10);
/// The number of types that are looked up in this time. Errors of further ones are addresses.
const MAX_LOOKUPS: usize = 256;
/// The number of files that stay open for further look-ups.
const MAX_FILES: usize = 16;

/// The types of errors in processes.
#[derive(Default)]
pub(crate) struct ErrorTypes {
    known: HashMap<(u32, u64), Option<ErrorType>>,
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
enum ErrorType {
    /// Its data begins with the message.
    HasMessage,
    /// It has this name.
    Named(String),
}

impl ErrorTypes {
    fn get(&mut self, pid: u32, ty: u64) -> Option<&ErrorType> {
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
    fn look_up(&mut self, pid: u32, address: u64) -> Option<ErrorType> {
        let has_type = |file: &&TypeFile| {
            file.pid == pid && (file.range.start..file.range.end).contains(&address)
        };
        if let Some(file) = self.files.iter().find(has_type) {
            return file.error_type(address);
        }
        let range = constant_range(pid, address).ok()??;
        let object = range.open(pid, self.mounts.get_or_insert_with(Mounts::new))?;
        let file = TypeFile { pid, range, object };
        let found = file.error_type(address);
        if self.files.len() < MAX_FILES {
            self.files.push(file);
        }
        found
    }
}

impl TypeFile {
    fn error_type(&self, address: u64) -> Option<ErrorType> {
        let bytes = self.object.bytes();
        let view = self.object.view(&bytes).ok()?;
        let offset = self.range.offset.checked_add(address.checked_sub(self.range.start)?)?;
        let linked = view.offset_to_vaddr(offset)?;
        let types = GoBinary::read(&bytes)?.dynamic_types()?;
        match types.error_data(linked) {
            ErrorData::Message => Some(ErrorType::HasMessage),
            _ => types.name(linked).map(ErrorType::Named),
        }
    }
}

/// Returns a copy of a record in which the strings of its errors are right; `None` if it has no error
/// whose type is known.
pub(super) fn complete(event: &Event<'_>, constants: &mut Constants) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    for view in &event.layout.args {
        let (Some(slots), Some(slot), Some(string)) = (view.interface, view.slot, view.string)
        else {
            continue;
        };
        let Some(InterfaceValue { first: 1.., ty }) = event.interface(slots) else { continue };
        let Some(known) = constants.error_types.get(event.pid, ty) else { continue };
        let out = out.get_or_insert_with(|| {
            let mut copy = event.record.to_vec();
            copy.resize(event.layout.size as usize, 0);
            copy
        });
        let mut put = |at: u32, bytes: &[u8]| {
            let at = at as usize;
            if let Some(to) = out.get_mut(at..at.saturating_add(bytes.len())) {
                to.copy_from_slice(bytes);
            }
        };
        put(slots.ty.at, &[0; 8]);
        let ErrorType::Named(name) = known else { continue };
        let name = name.as_bytes();
        let copied = name.get(..string.max as usize).unwrap_or(name);
        // The pointer is only compared with zero.
        put(slot.at, &1u64.to_le_bytes());
        put(string.at, &(copied.len() as u32).to_le_bytes());
        put(string.at + 8, copied);
        let mut faults = slot.fault.map_or(0, |bit| 1u32 << bit) | 1 << string.fault;
        if let Some(length) = string.length {
            put(length.at, &(name.len() as u64).to_le_bytes());
            faults |= length.fault.map_or(0, |bit| 1 << bit);
        }
        let old = super::u32_at(out, record_layout::FAULTS)?;
        let faults = (old & !faults).to_le_bytes();
        out.get_mut(record_layout::FAULTS as usize..)?.get_mut(..4)?.copy_from_slice(&faults);
    }
    out
}
