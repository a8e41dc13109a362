//! Spans, built from the events of probes that are the start and the end of the same work.

mod buffer;
mod goroutines;
mod name;
mod pairing;

pub(crate) use buffer::SpanBuffer;
pub(crate) use goroutines::tells_parents;
use name::NameValues;
pub use pairing::{Pairing, SpanCounts};

use crate::config::{self, SpanKind};
use std::fmt;
use usdt_attach::event::{Event, Value};

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Span {
    /// The process of both events.
    pub pid: u32,
    /// The name of the thread that started the span. Most programs have their own name there.
    pub comm: String,
    /// The trace ID: of the argument that holds one, else of the enclosing span, else random.
    pub trace_id: [u8; 16],
    /// The span's ID: of the argument that holds one, else random.
    pub span_id: [u8; 8],
    /// The ID of the parent span; `None` for the root of a trace.
    pub parent_id: Option<[u8; 8]>,
    /// The name, with the template of the configuration filled in.
    pub name: String,
    /// The kind, from the configuration.
    pub kind: SpanKind,
    /// The time of the start in nanoseconds since 1970.
    pub start_ns: u64,
    /// The time of the end in nanoseconds since 1970, never before `start_ns`.
    pub end_ns: u64,
    /// The arguments of the start, then those of the end that have another name.
    pub attributes: Vec<(String, Attribute)>,
    /// The error message if the work failed; `None` if it did not, or if the configuration does not
    /// say how to tell.
    pub error: Option<String>,
}

/// The value of a span attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string. Byte slices are hexadecimal, and integers above `i64::MAX` are decimal.
    String(String),
}

/// The value that pairs a start with its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PairValue {
    Number(u64),
    Bytes(Vec<u8>),
    /// A goroutine, and the frame of a call.
    Frame(u64, u64),
}

/// The value of `goid`, `tid` or an argument; 0 if the event has no such argument.
fn pair_value(key: Option<&str>, event: &Event<'_>) -> PairValue {
    match key {
        Some("tid") => PairValue::Number(event.tid.into()),
        None | Some("goid") => PairValue::Number(event.goid.unwrap_or(event.tid.into())),
        Some(name) => match event.arg(name) {
            Some(Value::Signed(n)) => PairValue::Number(n as u64),
            Some(Value::Unsigned(n) | Value::Pointer(n)) => PairValue::Number(n),
            Some(Value::Bool(b)) => PairValue::Number(b.into()),
            Some(Value::Float(n)) => PairValue::Number(n.to_bits()),
            Some(Value::String { bytes, .. } | Value::Bytes { bytes, .. }) => {
                PairValue::Bytes(bytes.to_vec())
            }
            _ => PairValue::Number(0),
        },
    }
}

/// A string argument. A byte slice of `size` bytes is an ID itself and returned in hexadecimal, even
/// if all its bytes are printable.
fn id_arg(event: &Event<'_>, name: &str, size: usize) -> Option<String> {
    match event.arg(name)? {
        Value::Bytes { bytes, .. } if bytes.len() == size => {
            Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        }
        value @ (Value::String { .. } | Value::Bytes { .. }) => Some(value.to_plain_string()),
        _ => None,
    }
}

/// Parses exactly N bytes in hexadecimal.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// The IDs that a caller has propagated.
#[derive(Debug, Default, PartialEq, Eq)]
struct TraceContext {
    trace_id: Option<[u8; 16]>,
    parent_id: Option<[u8; 8]>,
}

impl TraceContext {
    /// Parses a `traceparent` (W3C Trace Context, level 1, section 3.2) or a trace ID without it.
    /// Fields that a later version may append are ignored. Anything else has no IDs.
    fn parse(text: &str) -> TraceContext {
        let mut fields = text.split('-');
        match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(version), Some(trace_id), Some(parent_id), Some(_flags))
                if version.len() == 2 && version != "ff" =>
            {
                let trace_id = parse_trace_id(trace_id);
                let parent_id =
                    trace_id.and_then(|_| parse_hex(parent_id)).filter(|id| *id != [0; 8]);
                TraceContext { trace_id, parent_id }
            }
            (Some(trace_id), None, ..) => {
                TraceContext { trace_id: parse_trace_id(trace_id), parent_id: None }
            }
            _ => TraceContext::default(),
        }
    }
}

/// A trace ID of zeros is invalid.
fn parse_trace_id(text: &str) -> Option<[u8; 16]> {
    parse_hex(text).filter(|id| *id != [0; 16])
}

/// The arguments that become attributes. By default these are all but those that hold IDs.
fn attributes(config: &config::Span, event: &Event<'_>) -> Vec<(String, Attribute)> {
    let id_arguments = [&config.trace, &config.span_id, &config.parent_id];
    let is_wanted = |name: &str| match &config.attributes {
        Some(names) => names.iter().any(|n| n == name),
        None => !id_arguments.iter().any(|n| n.as_deref() == Some(name)),
    };
    let args = event.args().filter(|(name, _)| is_wanted(name));
    args.filter_map(|(name, value)| Some((name.to_owned(), attribute(value)?))).collect()
}

fn attribute(value: Value<'_>) -> Option<Attribute> {
    Some(match value {
        Value::Signed(n) => Attribute::Int(n),
        // OTLP has no unsigned integers. Larger ones are addresses or hashes, so a string will do.
        Value::Unsigned(n) | Value::Pointer(n) => {
            i64::try_from(n).map_or_else(|_| Attribute::String(n.to_string()), Attribute::Int)
        }
        Value::Float(n) => Attribute::Float(n),
        Value::Bool(b) => Attribute::Bool(b),
        Value::String { .. } | Value::Bytes { .. } | Value::Wide(_) | Value::Time(_) => {
            Attribute::String(value.to_plain_string())
        }
        _ => return None,
    })
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Int(n) => n.fmt(f),
            Attribute::Float(n) => n.fmt(f),
            Attribute::Bool(b) => b.fmt(f),
            Attribute::String(text) => text.fmt(f),
        }
    }
}

/// The error message, if the argument that the configuration names reports a failure.
fn error_message(config: &config::Span, event: &Event<'_>) -> Option<String> {
    let name = config.error.as_deref()?;
    let is_failure = |n: i128| match config.error_at {
        Some(threshold) => n >= i128::from(threshold),
        None => n != 0,
    };
    match event.arg(name)? {
        Value::Signed(n) => is_failure(n.into()).then(|| format!("{name} {n}")),
        Value::Unsigned(n) => is_failure(n.into()).then(|| format!("{name} {n}")),
        // An error whose message is not known.
        Value::Pointer(n) => (n != 0).then(|| name.to_owned()),
        Value::Bool(b) => b.then(|| name.to_owned()),
        Value::String { bytes, .. } => {
            (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
    }
}

/// Random bytes of the kernel, fetched a page at a time.
///
/// A generator that is seeded in user space could repeat the IDs of another agent.
#[derive(Default)]
struct RandomBytes {
    buffer: Vec<u8>,
}

impl RandomBytes {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const BUFFER_LEN: usize = 4096;
        if self.buffer.len() < N {
            self.buffer.resize(BUFFER_LEN, 0);
            let flags = rustix::rand::GetRandomFlags::empty();
            let len = rustix::rand::getrandom(&mut self.buffer, flags).unwrap_or(0);
            self.buffer.truncate(len);
        }
        let rest = self.buffer.len().saturating_sub(N);
        let mut out = [0; N];
        out.iter_mut().zip(self.buffer.drain(rest..)).for_each(|(to, from)| *to = from);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_valid_trace_contexts_only() {
        let context =
            TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(context.trace_id.map(|id| id[0]), Some(0x0a));
        assert_eq!(context.parent_id.map(|id| id[7]), Some(0x31));
        let later_version =
            TraceContext::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more");
        assert!(later_version.trace_id.is_some());
        let bare_id = TraceContext::parse("0af7651916cd43dd8448eb211c80319c");
        assert!(bare_id.trace_id.is_some() && bare_id.parent_id.is_none());
        for invalid in [
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "0af7651916cd43dd8448eb211c80319",
            "",
        ] {
            assert_eq!(TraceContext::parse(invalid), TraceContext::default(), "{invalid}");
        }
    }

    #[test]
    fn random_ids_do_not_repeat() {
        let mut random = RandomBytes::default();
        let ids: std::collections::HashSet<[u8; 8]> = (0..10_000).map(|_| random.bytes()).collect();
        assert_eq!(ids.len(), 10_000);
    }

    proptest! {
        #[test]
        fn parsing_a_trace_context_never_panics(text in ".*", digits in "[0-9a-fé-]{0,60}") {
            let _ = TraceContext::parse(&text);
            let _ = TraceContext::parse(&digits);
        }
    }
}
