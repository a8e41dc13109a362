//! Spans, built from the events of probes that are the start and the end of the same work.

use crate::config::{self, SpanKind};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use usdt_attach::discover::select::Glob;
use usdt_attach::event::{Event, Track, Value};
use usdt_attach::plan::PlannedProbe;

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
}

/// Identifies an open span.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OpenKey {
    /// The index of the configuration entry.
    entry: usize,
    pid: u32,
    value: PairValue,
}

struct OpenSpan {
    span: Span,
    track: Track,
    /// The number of starts up to this one, which tells it from a later start with the same key.
    sequence: u64,
}

/// How many starts and ends have been paired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanCounts {
    /// Spans with a start and an end.
    pub complete: u64,
    /// Ends without a start.
    pub without_start: u64,
    /// Starts that were given up: another start had the same key, too many spans were open, or the
    /// process ended.
    pub without_end: u64,
}

/// Pairs starts and ends, and builds spans from them.
///
/// A span becomes a child of the span that was started last, and is still open, in the same
/// goroutine, or in the same thread outside of Go.
pub struct Pairing {
    entries: Vec<Entry>,
    /// What the events of each probe are, resolved at its first event.
    roles: HashMap<PlannedProbe, Arc<[Role]>>,
    open: HashMap<OpenKey, OpenSpan>,
    /// The starts in their order, with sequence numbers. Some of them are not open any more.
    start_order: VecDeque<(OpenKey, u64)>,
    /// The open spans of each goroutine or thread, the innermost last.
    tracks: HashMap<Track, Vec<OpenKey>>,
    max_open: usize,
    sequence: u64,
    random: RandomBytes,
    counts: SpanCounts,
}

struct Entry {
    config: config::Span,
    start: Glob,
    end: Glob,
}

/// What an event is for an entry of the configuration.
#[derive(Clone, Copy)]
struct Role {
    entry: usize,
    is_start: bool,
}

impl Pairing {
    /// Creates a pairing for the entries of a configuration. When more than `max_open` spans are
    /// open, the oldest one is given up.
    pub fn new(spans: &[config::Span], max_open: usize) -> Pairing {
        let entry = |config: &config::Span| Entry {
            start: Glob::new(&config.start),
            end: Glob::new(&config.end),
            config: config.clone(),
        };
        Pairing {
            entries: spans.iter().map(entry).collect(),
            roles: HashMap::new(),
            open: HashMap::new(),
            start_order: VecDeque::new(),
            tracks: HashMap::new(),
            max_open,
            sequence: 0,
            random: RandomBytes::default(),
            counts: SpanCounts::default(),
        }
    }

    /// The number of spans that have started and not ended.
    pub fn open_spans(&self) -> usize {
        self.open.len()
    }

    /// The numbers of starts and ends that have been paired so far.
    pub fn counts(&self) -> SpanCounts {
        self.counts
    }

    /// Adds an event, and passes each span that it ends to `on_span`. Events must come in the order
    /// of their times.
    pub fn add_event(&mut self, event: &Event<'_>, mut on_span: impl FnMut(Span)) {
        for role in self.roles(event.probe).iter() {
            if role.is_start {
                self.start(role.entry, event);
            } else if let Some(span) = self.end(role.entry, event) {
                self.counts.complete += 1;
                on_span(span);
            }
        }
    }

    /// Gives up the open spans of processes that have ended.
    pub fn discard_processes(&mut self, is_alive: impl Fn(u32) -> bool) {
        let pids: HashSet<u32> = self.open.keys().map(|key| key.pid).collect();
        let ended: HashSet<u32> = pids.into_iter().filter(|pid| !is_alive(*pid)).collect();
        let keys: Vec<OpenKey> =
            self.open.keys().filter(|key| ended.contains(&key.pid)).cloned().collect();
        for key in keys {
            self.give_up(&key);
        }
    }

    fn roles(&mut self, probe: &PlannedProbe) -> Arc<[Role]> {
        if let Some(roles) = self.roles.get(probe) {
            return Arc::clone(roles);
        }
        let role = |(index, entry): (usize, &Entry)| {
            let is_start = entry.start.matches_names(&probe.provider, &probe.name);
            let is_end = entry.end.matches_names(&probe.provider, &probe.name);
            (is_start || is_end).then_some(Role { entry: index, is_start })
        };
        let roles: Arc<[Role]> = self.entries.iter().enumerate().filter_map(role).collect();
        self.roles.insert(probe.clone(), Arc::clone(&roles));
        roles
    }

    fn start(&mut self, index: usize, event: &Event<'_>) {
        let Some(Entry { config, .. }) = self.entries.get(index) else { return };
        let key = OpenKey {
            entry: index,
            pid: event.pid,
            value: pair_value(config.key.as_deref(), event),
        };
        let track = event.track();
        let id = |name: &Option<String>, size| id_arg(event, name.as_deref()?, size);
        let mut trace_id = None;
        let mut parent_id = id(&config.parent_id, 8).and_then(|text| parse_hex(&text));
        if let Some(text) = id(&config.trace, 16) {
            let context = TraceContext::parse(&text);
            trace_id = context.trace_id;
            parent_id = parent_id.or(context.parent_id);
        }
        let enclosing =
            self.tracks.get(&track).and_then(|keys| keys.last()).and_then(|key| self.open.get(key));
        if trace_id.is_none()
            && let Some(enclosing) = enclosing
        {
            trace_id = Some(enclosing.span.trace_id);
            parent_id = parent_id.or(Some(enclosing.span.span_id));
        }
        let span = Span {
            pid: event.pid,
            comm: String::from_utf8_lossy(event.comm()).into_owned(),
            trace_id: trace_id.unwrap_or_else(|| self.random.bytes()),
            span_id: id(&config.span_id, 8)
                .and_then(|text| parse_hex(&text))
                .unwrap_or_else(|| self.random.bytes()),
            parent_id: parent_id.filter(|id| *id != [0; 8]),
            name: config
                .name
                .as_ref()
                .map_or_else(|| default_name(event), |template| fill_template(template, event)),
            kind: config.kind,
            start_ns: event.time_ns,
            end_ns: event.time_ns,
            attributes: attributes(config, event),
            error: None,
        };
        self.give_up(&key);
        self.sequence += 1;
        let sequence = self.sequence;
        self.tracks.entry(track).or_default().push(key.clone());
        self.start_order.push_back((key.clone(), sequence));
        self.open.insert(key, OpenSpan { span, track, sequence });
        while self.open.len() > self.max_open {
            self.evict_oldest();
        }
        // Keeps the queue in proportion to the open spans, at a constant cost per start.
        if self.start_order.len() > 2 * self.max_open + 16 {
            let open = &self.open;
            self.start_order
                .retain(|(key, sequence)| open.get(key).is_some_and(|o| o.sequence == *sequence));
        }
    }

    fn end(&mut self, index: usize, event: &Event<'_>) -> Option<Span> {
        let config = &self.entries.get(index)?.config;
        let key = OpenKey {
            entry: index,
            pid: event.pid,
            value: pair_value(config.key.as_deref(), event),
        };
        let Some(open) = self.open.remove(&key) else {
            self.counts.without_start += 1;
            return None;
        };
        let mut span = open.span;
        span.end_ns = event.time_ns.max(span.start_ns);
        span.error = error_message(config, event);
        for (name, value) in attributes(config, event) {
            if !span.attributes.iter().any(|(known, _)| *known == name) {
                span.attributes.push((name, value));
            }
        }
        self.remove_from_track(&key, open.track);
        Some(span)
    }

    /// Counts an open span, if the key has one, as one without an end.
    fn give_up(&mut self, key: &OpenKey) {
        if let Some(open) = self.open.remove(key) {
            self.counts.without_end += 1;
            self.remove_from_track(key, open.track);
        }
    }

    /// Removes a span from the open spans of its goroutine or thread.
    fn remove_from_track(&mut self, key: &OpenKey, track: Track) {
        let Some(keys) = self.tracks.get_mut(&track) else { return };
        if let Some(index) = keys.iter().rposition(|known| known == key) {
            keys.remove(index);
        }
        if keys.is_empty() {
            self.tracks.remove(&track);
        }
    }

    /// Gives up the oldest open span.
    fn evict_oldest(&mut self) {
        while let Some((key, sequence)) = self.start_order.pop_front() {
            if self.open.get(&key).is_some_and(|open| open.sequence == sequence) {
                return self.give_up(&key);
            }
        }
    }
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

/// The name of a span without a template: the name of the start without its suffix.
fn default_name(event: &Event<'_>) -> String {
    let name = crate::pairs::stem(&event.probe.name).replace("__", "_");
    format!("{}:{name}", event.probe.provider)
}

/// Replaces each `{ARGUMENT}` by the value of that argument, or by nothing if there is none.
fn fill_template(template: &str, event: &Event<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        if let Some(value) = event.arg(name).and_then(attribute) {
            out.push_str(&value.to_string());
        }
        rest = after;
    }
    out + rest
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
        Value::String { .. } | Value::Bytes { .. } | Value::Wide(_) => {
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
