//! Events: hits that BPF programs have recorded.
//!
//! A record is decoded in place; the plan describes its layout.

pub(crate) mod constants;
pub mod counts;
mod elf_symbols;
pub mod goroutines;
mod interface_names;
pub mod symbolize;
mod value;

use crate::plan::record_layout::{self, ArgView, InterfaceSlots, Layout, StackField, StringField};
use crate::plan::{Action, ArgSlot, Handler, Plan, PlannedProbe};
use constants::{Constants, StringRef};
pub use gobinary::go_time::GoTime;
use stapsdt::schema::Kind;
use std::sync::Arc;
pub use value::Value;

/// Demangles a name, for the fuzz target.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn demangle(name: &str) -> String {
    elf_symbols::demangle(name)
}

/// Decodes the records of one plan.
#[derive(Debug)]
#[doc(hidden)] // public for benchmarks and fuzz targets
pub struct Decoder {
    plan: Arc<Plan>,
    /// The sites, indexed by cookie.
    sites: Vec<DecoderSite>,
    /// The minimum record length of each handler, in bytes.
    min_record_lens: Vec<usize>,
    /// True if an argument is an interface, whose value depends on its type.
    has_interfaces: bool,
    /// Nanoseconds to add to the kernel's monotonic time to get `CLOCK_REALTIME`.
    pub(crate) clock_offset: i64,
}

/// What the decoder needs to know of a site.
#[derive(Clone, Copy, Debug)]
struct DecoderSite {
    /// Index of the probe in the plan.
    probe: u32,
    /// Index of the handler in the plan.
    handler: u32,
    is_stub: bool,
}

/// A recorded hit. It borrows from the event buffer and the plan.
///
/// ```no_run
/// use usdt_attach::event::{Event, Value};
///
/// fn print(event: &Event<'_>) {
///     println!("{}:{} in process {}", event.probe.provider, event.probe.name, event.pid);
///     if let Some(Value::Signed(status)) = event.arg("status") {
///         println!("status {status}");
///     }
///     for (name, value) in event.args() {
///         println!("{name}={}", value.to_plain_string());
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    record: &'a [u8],
    layout: &'a Layout,
    is_stub: bool,
    /// The probe that was hit.
    pub probe: &'a PlannedProbe,
    /// Time of the hit: nanoseconds since 1970 (`CLOCK_REALTIME`).
    pub time_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Goroutine id. `None` outside of Go code, on threads without a goroutine, and in binaries that
    /// do not tell where the id is.
    pub goid: Option<u64>,
}

/// The words of an interface.
#[derive(Clone, Copy, Debug)]
struct InterfaceValue {
    /// Zero if the interface is nil.
    first: u64,
    /// The address of the dynamic type's descriptor.
    ty: u64,
}

/// A goroutine or a thread. Hits on one track follow each other; trace viewers draw a line for each
/// track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Track {
    /// Process id.
    pub pid: u32,
    /// True for a goroutine, false for a thread.
    pub is_goroutine: bool,
    /// Goroutine id or thread id.
    pub id: u64,
}

impl Decoder {
    /// Creates a decoder of the records that `plan` describes.
    pub fn new(plan: Arc<Plan>) -> Decoder {
        let sites = plan
            .sites()
            .iter()
            .map(|site| DecoderSite {
                probe: site.probe,
                handler: site.handler,
                is_stub: site.stub,
            })
            .collect();
        let min_record_lens = plan.handlers.iter().map(min_record_len).collect();
        let has_interfaces = plan.handlers.iter().any(|handler| match &handler.action {
            Action::Record(layout) => layout.args.iter().any(|arg| arg.interface.is_some()),
            _ => false,
        });
        Decoder { plan, sites, min_record_lens, has_interfaces, clock_offset: 0 }
    }

    /// True if the plan describes this record, so that [`Decoder::decode`] returns an event.
    pub(crate) fn accepts(&self, record: &[u8]) -> bool {
        let cookie = u32_at(record, record_layout::COOKIE);
        let site = cookie.and_then(|cookie| self.sites.get(cookie as usize));
        let min_len = site.and_then(|site| self.min_record_lens.get(site.handler as usize));
        min_len.is_some_and(|min_len| record.len() >= *min_len)
    }

    /// Returns a copy of the record with the strings that were not in memory at the hit, as far as
    /// `constants` has them. `None` if none was missing, as usual, or none is known.
    pub(crate) fn complete(&self, record: &[u8], constants: &mut Constants) -> Option<Vec<u8>> {
        if u32_at(record, record_layout::FAULTS)? == 0 && !self.has_interfaces {
            return None;
        }
        let event = self.decode(record)?;
        let mut out = interface_names::complete(&event, constants);
        let is_own = |string: &StringField| string.fault != record_layout::SHARED_FAULT;
        for (string, address) in event.missing_strings().filter(|(s, _)| is_own(s)) {
            let len = match string.length {
                Some(length) => length.read(record)?.min(string.max.into()) as u32,
                None => string.max,
            };
            let ends_with_nul = string.length.is_none();
            let wanted = StringRef { pid: event.pid, address, len, ends_with_nul };
            let Some(bytes) = constants.get(wanted) else { continue };
            let out = out.get_or_insert_with(|| {
                let mut copy = record.to_vec();
                copy.resize(event.layout.size as usize, 0);
                copy
            });
            let faults = u32_at(out, record_layout::FAULTS)? & !(1 << string.fault);
            let fields: [(u32, &[u8]); 3] = [
                (string.at, &(bytes.len() as u32).to_le_bytes()),
                (string.at + 8, bytes),
                (record_layout::FAULTS, &faults.to_le_bytes()),
            ];
            for (at, bytes) in fields {
                let at = at as usize;
                out.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
            }
        }
        out
    }

    /// Decodes a record; `None` if the plan does not describe it.
    pub fn decode<'a>(&'a self, record: &'a [u8]) -> Option<Event<'a>> {
        let cookie = u32_at(record, record_layout::COOKIE)?;
        let site = *self.sites.get(cookie as usize)?;
        let handler = site.handler as usize;
        let Action::Record(layout) = &self.plan.handlers.get(handler)?.action else {
            return None;
        };
        let pid_tgid = u64_at(record, record_layout::PID_TGID)?;
        if record.len() < *self.min_record_lens.get(handler)? {
            return None;
        }
        Some(Event {
            record,
            layout,
            is_stub: site.is_stub,
            probe: self.plan.probes.get(site.probe as usize)?,
            time_ns: u64_at(record, record_layout::TIME)?.wrapping_add_signed(self.clock_offset),
            pid: (pid_tgid >> 32) as u32,
            tid: pid_tgid as u32,
            goid: if layout.goid {
                Some(u64_at(record, record_layout::GOID)?).filter(|goid| *goid != 0)
            } else {
                None
            },
        })
    }
}

/// The minimum record length of a handler in bytes. No record is long enough for a handler that does
/// not record.
fn min_record_len(handler: &Handler) -> usize {
    match &handler.action {
        Action::Record(layout) => layout.min_record_len() as usize,
        _ => usize::MAX,
    }
}

impl<'a> Event<'a> {
    /// The name of the thread (`comm`), at most 15 bytes. The main thread has the name of the
    /// process.
    pub fn comm(&self) -> &'a [u8] {
        let field = slice(self.record, record_layout::COMM, 16).unwrap_or_default();
        field.split(|b| *b == 0).next().unwrap_or_default()
    }

    /// The track of the hit: its goroutine or, if [`Event::goid`] is `None`, its thread.
    pub fn track(&self) -> Track {
        match self.goid {
            Some(goid) => Track { pid: self.pid, is_goroutine: true, id: goid },
            None => Track { pid: self.pid, is_goroutine: false, id: self.tid.into() },
        }
    }

    /// The value of an argument; `None` if the probe has no argument of this name. Arguments without
    /// a name are called `arg0`, `arg1` and so on.
    pub fn arg(&self, name: &str) -> Option<Value<'a>> {
        self.args().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The names and values of the arguments, in declared order.
    pub fn args(&self) -> impl ExactSizeIterator<Item = (&'a str, Value<'a>)> + '_ {
        self.layout.args.iter().map(|view| (view.name.as_str(), self.value(view)))
    }

    /// The record as the BPF program wrote it.
    #[doc(hidden)] // public for benchmarks
    pub fn record(&self) -> &'a [u8] {
        self.record
    }

    /// True if the site is a stub function, which [`Event::stack`] leaves out.
    pub(crate) fn is_stub(&self) -> bool {
        self.is_stub
    }

    /// The frame of the call that the event belongs to: the distance in bytes from the top of the
    /// goroutine's stack to the stack pointer. It is the same at the entry and the return of a call,
    /// and less for the calls around it.
    ///
    /// `None` unless [`Options::call_frames`](crate::plan::Options::call_frames) is set and the probe is
    /// in the code of a Go function.
    pub fn frame(&self) -> Option<u64> {
        let field = self.layout.frame?;
        let read = |slot: ArgSlot| {
            if self.has_fault(slot.fault) { None } else { slot.read(self.record) }
        };
        Some(read(field.top)?.wrapping_sub(read(field.stack_pointer)?))
    }

    /// The user stack, innermost frame first: an instruction address, then return addresses. Empty
    /// if the kernel could not walk the stack; `None` if stacks are not recorded.
    pub fn stack(&self) -> Option<impl ExactSizeIterator<Item = u64> + 'a> {
        let StackField { at, frames } = self.layout.stack?;
        // The helper returns the length in bytes, or a negative error number.
        let written = u64_at(self.record, at)? as i64;
        let len = usize::try_from(written).unwrap_or(0).min(frames as usize * 8);
        let addresses = slice(self.record, at + 8, len).unwrap_or_default().as_chunks::<8>().0;
        // A stub function is of no interest; its caller contains the probe.
        let skipped = usize::from(self.is_stub).min(addresses.len());
        Some(addresses.iter().skip(skipped).map(|raw| u64::from_le_bytes(*raw)))
    }

    /// True if a string could not be read: its pages were not in memory when the probe fired, or its
    /// pointer is invalid.
    pub fn has_unreadable_string(&self) -> bool {
        self.missing_strings().next().is_some()
    }

    /// The strings whose bytes could not be read, and their addresses. Null pointers are not among
    /// them.
    fn missing_strings(&self) -> impl Iterator<Item = (StringField, u64)> + '_ {
        let faults = u32_at(self.record, record_layout::FAULTS).unwrap_or(0);
        let views = if faults == 0 { &[] } else { self.layout.args.as_slice() };
        views.iter().filter_map(|view| {
            let (slot, string) = (view.slot?, view.string?);
            let is_known = |slot: ArgSlot| !self.has_fault(slot.fault);
            let is_missing = self.has_fault(Some(string.fault))
                && is_known(slot)
                && string.length.is_none_or(|length| {
                    is_known(length) && length.read(self.record).is_some_and(|n| n != 0)
                });
            let address = slot.read(self.record).filter(|address| *address != 0)?;
            is_missing.then_some((string, address))
        })
    }

    fn value(&self, view: &'a ArgView) -> Value<'a> {
        // A bit that several reads share says nothing about this one.
        if view
            .missing
            .is_some_and(|bit| bit != record_layout::SHARED_FAULT && self.has_fault(Some(bit)))
        {
            return Value::Missing;
        }
        if let Some(interface) = view.interface {
            match self.interface(interface) {
                None => return Value::Unreadable,
                Some(InterfaceValue { first: 0, .. }) => return Value::Nil,
                // `Decoder::complete` clears the type once it has found the string.
                Some(InterfaceValue { first, ty }) if view.kind == Kind::Pointer => {
                    let name = interface_names::name(self, ty);
                    return name.map_or(Value::Pointer(first), |bytes| Value::String {
                        bytes,
                        truncated: 0,
                    });
                }
                Some(InterfaceValue { first, ty }) if ty != 0 => return Value::Pointer(first),
                Some(_) => {}
            }
        }
        let Some(slot) = view.slot.filter(|slot| !self.has_fault(slot.fault)) else {
            return Value::Unreadable;
        };
        if let Some(wide) = slot.read_wide(self.record) {
            return Value::Wide(wide);
        }
        let Some(raw) = slot.read(self.record) else { return Value::Unreadable };
        if let Some(label) = view.labels.as_ref().and_then(|labels| labels.get(raw as i64)) {
            return Value::String { bytes: label.as_bytes(), truncated: 0 };
        }
        match view.kind {
            Kind::Int if slot.signed => Value::Signed(raw as i64),
            Kind::Int => Value::Unsigned(raw),
            Kind::Float if slot.size == 4 => Value::Float(f64::from(f32::from_bits(raw as u32))),
            Kind::Float => Value::Float(f64::from_bits(raw)),
            Kind::Bool => Value::Bool(raw != 0),
            Kind::Pointer => Value::Pointer(raw),
            Kind::Time => self.time(view, raw).map_or(Value::Unreadable, Value::Time),
            Kind::Cstring | Kind::String | Kind::Bytes | Kind::Error => self.string(view, raw),
        }
    }

    /// The words of an interface; `None` if they could not be read.
    fn interface(&self, slots: InterfaceSlots) -> Option<InterfaceValue> {
        let word = |slot: ArgSlot| slot.read(self.record).filter(|_| !self.has_fault(slot.fault));
        let first = word(slots.first)?;
        // A nil interface has no type to read.
        let ty = if first == 0 { 0 } else { word(slots.ty)? };
        Some(InterfaceValue { first, ty })
    }

    /// A time, whose field `wall` is given; `None` if it could not be read or is not a time.
    fn time(&self, view: &ArgView, wall: u64) -> Option<GoTime> {
        let ext = view.ext.filter(|slot| !self.has_fault(slot.fault))?;
        GoTime::decode(wall, ext.read(self.record)? as i64)
    }

    /// The value of a string or bytes argument, whose pointer is given.
    fn string(&self, view: &ArgView, pointer: u64) -> Value<'a> {
        let Some(string) = view.string else { return Value::Pointer(pointer) };
        if pointer == 0 && matches!(view.kind, Kind::Error | Kind::Cstring) {
            return Value::Nil;
        }
        if string.length.is_some_and(|slot| self.has_fault(slot.fault)) {
            return Value::Unreadable;
        }
        let full_len = string.length.and_then(|slot| slot.read(self.record));
        if string.length.is_some_and(|slot| slot.signed) && full_len.is_some_and(|n| (n as i64) < 0)
        {
            return Value::Unreadable;
        }
        // An empty string may point anywhere, so a fault does not matter.
        if full_len == Some(0) {
            return if view.kind == Kind::Bytes {
                Value::Bytes { bytes: &[], truncated: 0 }
            } else {
                Value::String { bytes: &[], truncated: 0 }
            };
        }
        if self.has_fault(Some(string.fault)) {
            return Value::Unreadable;
        }
        let copied = u32_at(self.record, string.at).unwrap_or(0).min(string.max);
        let bytes = slice(self.record, string.at + 8, copied as usize).unwrap_or_default();
        match (view.kind, full_len) {
            // A C string, whose copied length counts the NUL. The helper ends a full buffer with
            // a NUL as well, so a string that just fits looks like one that does not.
            (_, None) => Value::String {
                bytes: bytes.strip_suffix(b"\0").unwrap_or(bytes),
                truncated: u64::from(copied == string.max),
            },
            (Kind::Bytes, Some(full_len)) => {
                Value::Bytes { bytes, truncated: full_len.saturating_sub(u64::from(copied)) }
            }
            (_, Some(full_len)) => {
                Value::String { bytes, truncated: full_len.saturating_sub(u64::from(copied)) }
            }
        }
    }

    /// True if the BPF program could not read the memory of this fault bit. Arguments in registers
    /// have no bit.
    fn has_fault(&self, bit: Option<u8>) -> bool {
        let faults = u32_at(self.record, record_layout::FAULTS).unwrap_or(0);
        bit.is_some_and(|bit| faults >> bit & 1 != 0)
    }
}

fn slice(data: &[u8], at: u32, len: usize) -> Option<&[u8]> {
    let at = at as usize;
    data.get(at..at.checked_add(len)?)
}

fn u32_at(data: &[u8], at: u32) -> Option<u32> {
    Some(u32::from_le_bytes(slice(data, at, 4)?.try_into().ok()?))
}

fn u64_at(data: &[u8], at: u32) -> Option<u64> {
    Some(u64::from_le_bytes(slice(data, at, 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::ObjectId;
    use crate::plan::{Frame, Handler, Method, PlannedObject, Site};
    use proptest::prelude::*;

    fn view(name: &str, kind: Kind, slot: ArgSlot, text: Option<StringField>) -> ArgView {
        ArgView {
            name: name.into(),
            kind,
            slot: Some(slot),
            string: text,
            ext: None,
            missing: None,
            labels: None,
            interface: None,
            problem: None,
        }
    }

    fn layout() -> Layout {
        let slot = |at, size, signed| ArgSlot { at, size, signed, fault: Some(1) };
        let length = slot(64, 8, false);
        Layout {
            size: 104,
            reads: Vec::new(),
            goid: true,
            frame: None,
            stack: None,
            args: vec![
                view("status", Kind::Int, slot(48, 4, true), None),
                view(
                    "method",
                    Kind::String,
                    slot(56, 8, false),
                    Some(StringField { at: 72, max: 8, length: Some(length), fault: 2 }),
                ),
                view("load", Kind::Float, slot(88, 4, false), None),
                view(
                    "c",
                    Kind::Cstring,
                    slot(56, 8, false),
                    Some(StringField { at: 72, max: 8, length: None, fault: 2 }),
                ),
            ],
        }
    }

    fn record(length: u64, copied: u32, bytes: &[u8], faults: u32) -> Vec<u8> {
        let mut r = vec![0; 104];
        r[4..8].copy_from_slice(&faults.to_le_bytes());
        r[8..16].copy_from_slice(&5u64.to_le_bytes());
        r[16..24].copy_from_slice(&((7u64 << 32) | 9).to_le_bytes());
        r[24..32].copy_from_slice(&42u64.to_le_bytes());
        r[32..36].copy_from_slice(b"app\0");
        r[48..52].copy_from_slice(&(-2i32).to_le_bytes());
        r[56..64].copy_from_slice(&0x1000u64.to_le_bytes());
        r[64..72].copy_from_slice(&length.to_le_bytes());
        r[72..76].copy_from_slice(&copied.to_le_bytes());
        r[80..80 + bytes.len()].copy_from_slice(bytes);
        r[88..92].copy_from_slice(&1.5f32.to_le_bytes());
        r
    }

    fn values(record: &[u8]) -> Vec<Value<'_>> {
        let (layout, probe) = (layout(), PlannedProbe { provider: "a".into(), name: "p".into() });
        let (layout, probe) = (Box::leak(Box::new(layout)), Box::leak(Box::new(probe)));
        let event =
            Event { record, layout, is_stub: false, probe, time_ns: 0, pid: 0, tid: 0, goid: None };
        event.args().map(|(_, v)| v).collect()
    }

    /// A record of this process with a string that its BPF program could not read.
    #[test]
    fn completes_strings_from_the_file_that_has_them() {
        static TEXT: &[u8] = b"constant\0";
        let mut layout = layout();
        // Its string is in the same place as that of `method`.
        layout.args.truncate(3);
        let plan = Plan {
            handlers: vec![Handler {
                stack_check: false,
                frame: Frame::default(),
                filter: None,
                rate: None,
                action: Action::Record(layout),
            }],
            probes: vec![PlannedProbe { provider: "a".into(), name: "p".into() }],
            objects: vec![PlannedObject {
                path: "/a".into(),
                id: ObjectId { dev: 0, ino: 0, address: 0 },
                sites: vec![Site {
                    cookie: 0,
                    probe: 0,
                    handler: 0,
                    address: 0,
                    offset: 0,
                    semaphore_offset: None,
                    method: Method::Nop,
                    stub: false,
                }],
                object: None,
            }],
            ..Plan::default()
        };
        let decoder = Decoder::new(Arc::new(plan));
        let mut constants = Constants::default();
        let mut completed = |address: u64, length, faults| {
            let mut record = record(length, 3, b"", faults);
            record[16..24].copy_from_slice(&(u64::from(std::process::id()) << 32).to_le_bytes());
            record[56..64].copy_from_slice(&address.to_le_bytes());
            let completed = decoder.complete(&record, &mut constants)?;
            let event = decoder.decode(&completed).unwrap();
            assert!(!event.has_unreadable_string());
            let values = event.args().map(|(_, value)| value.to_plain_string());
            Some(values.collect::<Vec<_>>())
        };
        let text = TEXT.as_ptr() as u64;
        let expected = ["-2", "con", "1.5"].map(str::to_owned);
        assert_eq!(completed(text, 3, 1 << 2), Some(expected.to_vec()));
        assert_eq!(completed(text, 3, 0), None, "nothing is missing");
        assert_eq!(completed(text, 3, 3 << 1), None, "the pointer is missing, too");
        assert_eq!(completed(0, 3, 1 << 2), None);
    }

    #[test]
    fn a_string_of_negative_length_is_unreadable() {
        let slot = |at, size, signed| ArgSlot { at, size, signed, fault: None };
        let field = |length| StringField { at: 72, max: 8, length: Some(length), fault: 2 };
        let mut layout = layout();
        let pointer = slot(56, 8, false);
        layout.args = vec![
            view("signed", Kind::String, pointer, Some(field(slot(64, 4, true)))),
            view("unsigned", Kind::String, pointer, Some(field(slot(64, 4, false)))),
        ];
        let probe = PlannedProbe { provider: "a".into(), name: "p".into() };
        let read = |length: i32, copied| {
            let record = record(u64::from(length as u32), copied, b"12345678", 0);
            let event = Event {
                record: &record,
                layout: &layout,
                is_stub: false,
                probe: &probe,
                time_ns: 0,
                pid: 0,
                tid: 0,
                goid: None,
            };
            event.args().map(|(_, value)| value.to_plain_string()).collect::<Vec<_>>()
        };
        assert_eq!(read(3, 3), ["123", "123"]);
        assert_eq!(read(-1, 8), ["", "12345678"]);
    }

    proptest! {
        /// A byte slice is either a string that needs no loss, or hexadecimal.
        #[test]
        fn byte_slices_are_strings_if_they_are_printable(
            bytes: Vec<u8>, text in "[ -~äß€😀\\n]{0,20}", cut in 0usize..20,
        ) {
            let plain = |bytes, truncated| Value::Bytes { bytes, truncated }.to_plain_string();
            prop_assert_eq!(&plain(text.as_bytes(), 0), &text);
            let cut = cut.min(text.len());
            prop_assert!(text.starts_with(&plain(&text.as_bytes()[..cut], 1)));
            let printed = plain(&bytes, 0);
            prop_assert!(printed.as_bytes() == bytes || printed == value::hex(&bytes));
        }
    }

    #[test]
    fn decodes_values_by_their_declared_types() {
        let string = |bytes, truncated| Value::String { bytes, truncated };
        let r = record(3, 3, b"GET", 0);
        assert_eq!(values(&r)[..3], [Value::Signed(-2), string(&b"GET"[..], 0), Value::Float(1.5)]);
        let r = record(300, 8, b"12345678", 0);
        assert_eq!(values(&r)[1], string(&b"12345678"[..], 292));
        let r = record(3, 4, b"GET\0", 0);
        assert_eq!(values(&r)[3], string(&b"GET"[..], 0));
        let r = record(3, 8, b"1234567\0", 0);
        assert_eq!(values(&r)[3], string(&b"1234567"[..], 1), "a full buffer may be truncated");
        let r = record(3, 0, b"", 1 << 2);
        assert_eq!(values(&r)[1], Value::Unreadable);
        let r = record(0, 0, b"", 1 << 1);
        assert_eq!(values(&r)[1], Value::Unreadable, "the length could not be read");
        let r = record(3, 3, b"GET", 1 << 1);
        assert_eq!(values(&r)[0], Value::Unreadable);
        let r = record(0, 0, b"", 1 << 2);
        assert_eq!(values(&r)[1], string(&b""[..], 0), "an empty string needs no memory");
    }

    #[test]
    fn decodes_the_record_header() {
        let handler = Handler {
            stack_check: false,
            frame: Frame::default(),
            filter: None,
            rate: None,
            action: Action::Record(layout()),
        };
        let plan = Plan {
            probes: vec![PlannedProbe { provider: "a".into(), name: "p".into() }],
            handlers: vec![handler],
            ..Plan::default()
        };
        let decoder = Decoder {
            sites: vec![DecoderSite { probe: 0, handler: 0, is_stub: false }],
            clock_offset: 100,
            ..Decoder::new(Arc::new(plan))
        };
        let r = record(3, 3, b"GET", 0);
        let event = decoder.decode(&r).unwrap();
        assert_eq!((event.pid, event.tid, event.goid, event.time_ns), (7, 9, Some(42), 105));
        assert_eq!(event.comm(), b"app");
        assert!(decoder.decode(&r[..100]).is_none());
    }

    proptest! {
        #[test]
        fn never_panics_on_a_record(bytes in prop::collection::vec(any::<u8>(), 104)) {
            let _ = values(&bytes);
        }
    }
}
