//! Events: records of hits, decoded in place by the plan that describes their layout.

pub mod counts;
pub mod goroutines;
pub mod symbolize;

use crate::plan::record_layout::{self, ArgView, Layout, StackField};
use crate::plan::{Action, ArgSlot, Handler, Plan, PlannedProbe};
use stapsdt::schema::Kind;
use std::fmt::Write as _;
use std::sync::Arc;

/// Decodes the records of one plan.
#[derive(Debug)]
pub struct Decoder {
    plan: Arc<Plan>,
    /// Probe, handler and whether it is a stub, of each site.
    sites: Vec<(u32, u32, bool)>,
    /// Bytes of the shortest record of each handler.
    least: Vec<usize>,
    /// Added to the kernel's monotonic time to get nanoseconds since 1970.
    pub clock_offset: i64,
}

/// A recorded hit. It borrows from the record and the plan.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    record: &'a [u8],
    layout: &'a Layout,
    stub: bool,
    /// The probe that was hit.
    pub probe: &'a PlannedProbe,
    /// Index of the site in the plan, by which the kernel names it.
    pub cookie: u32,
    /// Time of the hit: `CLOCK_REALTIME` in nanoseconds since 1970.
    pub time_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Goroutine id; `None` outside Go code, where the binary does not say where the id is, and on threads without a
    /// goroutine.
    pub goid: Option<u64>,
}

/// What hits follow each other on: a goroutine or a thread of a process. Trace viewers draw one line for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Track {
    /// Process id.
    pub pid: u32,
    /// Whether it is a goroutine.
    pub is_goroutine: bool,
    /// The goroutine's id, or the thread's.
    pub id: u64,
}

/// An argument's value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A float of 4 or 8 bytes.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// An address in the process.
    Pointer(u64),
    /// A string, or the name of an enumeration value that the catalogue has.
    String {
        /// The bytes, usually UTF-8, without a terminating NUL.
        bytes: &'a [u8],
        /// Number of bytes left out at the end, because the string is longer than the limit; 0 if it is whole. For
        /// NUL-terminated strings, whose length is unknown then, 1 means "at least one".
        truncated: u64,
    },
    /// Bytes.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// Number of bytes left out at the end; 0 if none.
        truncated: u64,
    },
    /// A nil error, or a null pointer to a C string.
    Nil,
    /// The operand is not supported, or its memory was not present when the probe fired.
    Unreadable,
}

impl Value<'_> {
    /// Whether it is a string or bytes whose end is left out.
    pub fn is_truncated(self) -> bool {
        matches!(self, Value::String { truncated, .. } | Value::Bytes { truncated, .. } if truncated > 0)
    }

    /// The value without quotes: strings as lossy UTF-8, bytes and addresses in hexadecimal, nothing for nil and
    /// unreadable values.
    pub fn to_plain_string(self) -> String {
        match self {
            Value::Signed(n) => n.to_string(),
            Value::Unsigned(n) => n.to_string(),
            Value::Pointer(n) => format!("{n:#x}"),
            Value::Float(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::String { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
            Value::Bytes { bytes, .. } => hex(bytes),
            Value::Nil | Value::Unreadable => String::new(),
        }
    }
}

/// Two hexadecimal digits per byte.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string has no failing case.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

impl Decoder {
    /// A decoder of what `plan` records.
    pub fn new(plan: Arc<Plan>) -> Decoder {
        let sites = plan.sites().iter().map(|s| (s.probe, s.handler, s.stub)).collect();
        let least = |handler: &Handler| match &handler.action {
            Action::Record(layout) => layout.min_record_len() as usize,
            _ => usize::MAX,
        };
        let least = plan.handlers.iter().map(least).collect();
        Decoder { plan, sites, least, clock_offset: 0 }
    }

    /// Whether the plan describes this record, so that [`Decoder::decode`] returns an event.
    pub(crate) fn accepts(&self, record: &[u8]) -> bool {
        let cookie = u32_at(record, record_layout::COOKIE);
        let site = cookie.and_then(|cookie| self.sites.get(cookie as usize));
        let least = site.and_then(|(_, handler, _)| self.least.get(*handler as usize));
        least.is_some_and(|least| record.len() >= *least)
    }

    /// Decodes a record; `None` for bytes that the plan does not describe.
    pub fn decode<'a>(&'a self, record: &'a [u8]) -> Option<Event<'a>> {
        let cookie = u32_at(record, record_layout::COOKIE)?;
        let (probe, handler, stub) = *self.sites.get(cookie as usize)?;
        let Action::Record(layout) = &self.plan.handlers.get(handler as usize)?.action else {
            return None;
        };
        let pid_tgid = u64_at(record, record_layout::PID_TGID)?;
        if record.len() < *self.least.get(handler as usize)? {
            return None;
        }
        Some(Event {
            record,
            layout,
            stub,
            probe: self.plan.probes.get(probe as usize)?,
            cookie,
            time_ns: u64_at(record, record_layout::TIME)?.wrapping_add_signed(self.clock_offset),
            pid: (pid_tgid >> 32) as u32,
            tid: pid_tgid as u32,
            goid: if layout.goid {
                Some(u64_at(record, record_layout::GOID)?).filter(|g| *g != 0)
            } else {
                None
            },
        })
    }
}

impl<'a> Event<'a> {
    /// Name of the thread (of the process, for its first), at most 15 bytes.
    pub fn comm(&self) -> &'a [u8] {
        let field = slice(self.record, record_layout::COMM, 16).unwrap_or_default();
        field.split(|b| *b == 0).next().unwrap_or_default()
    }

    /// The track of the hit: its goroutine or, where there is none, its thread.
    pub fn track(&self) -> Track {
        match self.goid {
            Some(goid) => Track { pid: self.pid, is_goroutine: true, id: goid },
            None => Track { pid: self.pid, is_goroutine: false, id: self.tid.into() },
        }
    }

    /// The argument with this name; `None` if the probe has none.
    pub fn arg(&self, name: &str) -> Option<Value<'a>> {
        self.args().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values of the arguments, in declared order.
    pub fn args(&self) -> impl ExactSizeIterator<Item = (&'a str, Value<'a>)> + '_ {
        self.layout.args.iter().map(|view| (view.name.as_str(), self.value(view)))
    }

    /// The record as the BPF program wrote it.
    pub fn record(&self) -> &'a [u8] {
        self.record
    }

    /// Whether the site is a stub function, which [`Event::stack`] leaves out.
    pub fn is_stub(&self) -> bool {
        self.stub
    }

    /// The user stack: the address in the innermost function, then return addresses. Empty where it could not be walked;
    /// `None` where none is recorded.
    pub fn stack(&self) -> Option<impl ExactSizeIterator<Item = u64> + 'a> {
        let StackField { at, frames } = self.layout.stack?;
        let written = u64_at(self.record, at)? as i64;
        let bytes = usize::try_from(written).unwrap_or(0).min(frames as usize * 8);
        let addresses = slice(self.record, at + 8, bytes).unwrap_or_default().as_chunks::<8>().0;
        // The site itself, where it is a function of its own.
        let stub = usize::from(self.stub).min(addresses.len());
        Some(addresses.iter().skip(stub).map(|raw| u64::from_le_bytes(*raw)))
    }

    fn value(&self, view: &ArgView) -> Value<'a> {
        let Some(word) = view.slot.filter(|w| !self.failed(w.fault)) else {
            return Value::Unreadable;
        };
        let Some(raw) = self.word(word) else { return Value::Unreadable };
        if let Some(text) = view.labels.and_then(|labels| labels.get(usize::try_from(raw).ok()?)) {
            return Value::String { bytes: text.as_bytes(), truncated: 0 };
        }
        match view.kind {
            Kind::Int if word.signed => Value::Signed(raw as i64),
            Kind::Int => Value::Unsigned(raw),
            Kind::Float if word.size == 4 => Value::Float(f64::from(f32::from_bits(raw as u32))),
            Kind::Float => Value::Float(f64::from_bits(raw)),
            Kind::Bool => Value::Bool(raw != 0),
            Kind::Pointer => Value::Pointer(raw),
            Kind::Cstring | Kind::String | Kind::Bytes | Kind::Error => self.text(view, raw),
        }
    }

    fn text(&self, view: &ArgView, pointer: u64) -> Value<'a> {
        let Some(text) = view.string else { return Value::Pointer(pointer) };
        if pointer == 0 && matches!(view.kind, Kind::Error | Kind::Cstring) {
            return Value::Nil;
        }
        let full = text.length.and_then(|w| self.word(w));
        if full == Some(0) {
            return if view.kind == Kind::Bytes {
                Value::Bytes { bytes: &[], truncated: 0 }
            } else {
                Value::String { bytes: &[], truncated: 0 }
            };
        }
        if self.failed(Some(text.fault)) {
            return Value::Unreadable;
        }
        let length = u32_at(self.record, text.at).unwrap_or(0).min(text.max);
        let bytes = slice(self.record, text.at + 8, length as usize).unwrap_or_default();
        match (view.kind, full) {
            // The helper's length counts the NUL; without one in sight the text went on.
            (_, None) if length == text.max => {
                Value::String { bytes: bytes.strip_suffix(b"\0").unwrap_or(bytes), truncated: 1 }
            }
            (_, None) => {
                Value::String { bytes: bytes.strip_suffix(b"\0").unwrap_or(bytes), truncated: 0 }
            }
            (Kind::Bytes, Some(full)) => {
                Value::Bytes { bytes, truncated: full.saturating_sub(u64::from(length)) }
            }
            (_, Some(full)) => {
                Value::String { bytes, truncated: full.saturating_sub(u64::from(length)) }
            }
        }
    }

    fn failed(&self, bit: Option<u8>) -> bool {
        let faults = u32_at(self.record, record_layout::FAULTS).unwrap_or(0);
        bit.is_some_and(|bit| faults >> bit & 1 != 0)
    }

    /// The word at its declared size, sign-extended if it has a sign.
    fn word(&self, word: ArgSlot) -> Option<u64> {
        word.read(self.record)
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
    use crate::plan::record_layout::StringField;
    use crate::plan::{Frame, Handler};
    use proptest::prelude::*;

    fn view(name: &str, kind: Kind, word: ArgSlot, text: Option<StringField>) -> ArgView {
        ArgView {
            name: name.into(),
            kind,
            slot: Some(word),
            string: text,
            labels: None,
            problem: None,
        }
    }

    /// A plan without objects: decoding needs sites and layouts only.
    fn layout() -> Layout {
        let word = |at, size, signed| ArgSlot { at, size, signed, fault: Some(1) };
        let length = word(64, 8, false);
        Layout {
            size: 104,
            reads: Vec::new(),
            goid: true,
            stack: None,
            args: vec![
                view("status", Kind::Int, word(48, 4, true), None),
                view(
                    "method",
                    Kind::String,
                    word(56, 8, false),
                    Some(StringField { at: 72, max: 8, length: Some(length), fault: 2 }),
                ),
                view("load", Kind::Float, word(88, 4, false), None),
                view(
                    "c",
                    Kind::Cstring,
                    word(56, 8, false),
                    Some(StringField { at: 72, max: 8, length: None, fault: 2 }),
                ),
            ],
        }
    }

    fn record(length: u64, copied: u32, text: &[u8], faults: u32) -> Vec<u8> {
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
        r[80..80 + text.len()].copy_from_slice(text);
        r[88..92].copy_from_slice(&1.5f32.to_le_bytes());
        r
    }

    fn values(record: &[u8]) -> Vec<Value<'_>> {
        let (layout, probe) = (layout(), PlannedProbe { provider: "a".into(), name: "p".into() });
        let (layout, probe) = (Box::leak(Box::new(layout)), Box::leak(Box::new(probe)));
        let event = Event {
            record,
            layout,
            stub: false,
            probe,
            cookie: 0,
            time_ns: 0,
            pid: 0,
            tid: 0,
            goid: None,
        };
        event.args().map(|(_, v)| v).collect()
    }

    #[test]
    fn values_have_their_declared_shape() {
        let text = |bytes, truncated| Value::String { bytes, truncated };
        let r = record(3, 3, b"GET", 0);
        assert_eq!(values(&r)[..3], [Value::Signed(-2), text(&b"GET"[..], 0), Value::Float(1.5)]);
        let r = record(300, 8, b"12345678", 0);
        assert_eq!(values(&r)[1], text(&b"12345678"[..], 292));
        let r = record(3, 4, b"GET\0", 0);
        assert_eq!(values(&r)[3], text(&b"GET"[..], 0));
        let r = record(3, 8, b"1234567\0", 0);
        assert_eq!(values(&r)[3], text(&b"1234567"[..], 1), "a full buffer may have cut the text");
        let r = record(3, 0, b"", 1 << 2);
        assert_eq!(values(&r)[1], Value::Unreadable);
        let r = record(3, 3, b"GET", 1 << 1);
        assert_eq!(values(&r)[0], Value::Unreadable);
        let r = record(0, 0, b"", 1 << 2);
        assert_eq!(values(&r)[1], text(&b""[..], 0), "an empty text needs no memory");
    }

    #[test]
    fn head_of_the_record() {
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
            sites: vec![(0, 0, false)],
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
        fn no_record_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 104)) {
            let _ = values(&bytes);
        }
    }
}
