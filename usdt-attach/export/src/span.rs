//! Spans: starts and ends of the same work, put together from events.

use crate::config::{self, SpanKind};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use usdt_attach::discover::select::Glob;
use usdt_attach::event::{Event, Track, Value};
use usdt_attach::plan::PlannedProbe;

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Whose it is.
    pub pid: u32,
    /// The thread that began it; of most programs, their name.
    pub comm: String,
    /// Its trace.
    pub trace: [u8; 16],
    /// Its own id.
    pub id: [u8; 8],
    /// Its parent's id.
    pub parent: Option<[u8; 8]>,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Likewise.
    pub end: u64,
    /// What is known of it.
    pub attributes: Vec<(String, Attribute)>,
    /// What failed, if anything did.
    pub error: Option<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A string.
    String(String),
}

/// What a start and its end have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Number(u64),
    String(Vec<u8>),
}

/// An open span: which entry's, whose, which.
type Name = (usize, u32, Key);

struct Open {
    span: Span,
    track: Track,
    number: u64,
}

/// What happened to spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Both ends came.
    pub complete: u64,
    /// The end came without a start.
    pub ends: u64,
    /// Another start of the same key came first, or there were too many.
    pub lost: u64,
}

/// Puts spans together.
pub struct Pairing {
    entries: Vec<Entry>,
    /// Entries of each probe, and whether their spans begin there.
    roles: HashMap<PlannedProbe, Arc<[(usize, bool)]>>,
    open: HashMap<Name, Open>,
    /// In the order of their starts; some have ended.
    order: VecDeque<(Name, u64)>,
    /// Open spans of a goroutine or thread, the innermost last.
    tracks: HashMap<Track, Vec<Name>>,
    limit: usize,
    number: u64,
    random: Random,
    /// What has happened so far.
    pub counts: Counts,
}

struct Entry {
    config: config::Span,
    start: Glob,
    end: Glob,
}

impl Pairing {
    /// For these entries, with so many open spans at most.
    pub fn new(spans: &[config::Span], limit: usize) -> Pairing {
        let entry = |config: &config::Span| Entry {
            start: Glob::new(&config.start),
            end: Glob::new(&config.end),
            config: config.clone(),
        };
        Pairing {
            entries: spans.iter().map(entry).collect(),
            roles: HashMap::new(),
            open: HashMap::new(),
            order: VecDeque::new(),
            tracks: HashMap::new(),
            limit,
            number: 0,
            random: Random::default(),
            counts: Counts::default(),
        }
    }

    /// How many have begun and not ended.
    pub fn waiting(&self) -> usize {
        self.open.len()
    }

    /// Takes an event; hands over the spans that it ends.
    pub fn take(&mut self, event: &Event<'_>, mut ended: impl FnMut(Span)) {
        for (index, begins) in self.roles(event.probe).iter().copied() {
            if begins {
                self.begin(index, event);
            } else if let Some(span) = self.end(index, event) {
                self.counts.complete += 1;
                ended(span);
            }
        }
    }

    fn roles(&mut self, probe: &PlannedProbe) -> Arc<[(usize, bool)]> {
        if let Some(roles) = self.roles.get(probe) {
            return Arc::clone(roles);
        }
        let role = |(index, entry): (usize, &Entry)| {
            let begins = entry.start.matches_names(&probe.provider, &probe.name);
            (begins || entry.end.matches_names(&probe.provider, &probe.name))
                .then_some((index, begins))
        };
        let roles: Arc<[(usize, bool)]> =
            self.entries.iter().enumerate().filter_map(role).collect();
        self.roles.insert(probe.clone(), Arc::clone(&roles));
        roles
    }

    fn begin(&mut self, index: usize, event: &Event<'_>) {
        let Some(Entry { config, .. }) = self.entries.get(index) else { return };
        let name = (index, event.pid, key(config, event));
        let track = event.track();
        let text = |name: &Option<String>| name.as_ref().and_then(|name| text_of(event, name));
        let (mut trace, mut parent) = (None, text(&config.parent_id).and_then(|t| digits(&t)));
        if let Some(context) = text(&config.trace) {
            let (id, caller) = context_of(&context);
            trace = id;
            parent = parent.or(caller);
        }
        // What began last in this goroutine and goes on is what this is part of.
        let outer = self
            .tracks
            .get(&track)
            .and_then(|names| names.last())
            .and_then(|name| self.open.get(name));
        if trace.is_none()
            && let Some(outer) = outer
        {
            trace = Some(outer.span.trace);
            parent = parent.or(Some(outer.span.id));
        }
        let span = Span {
            pid: event.pid,
            comm: String::from_utf8_lossy(event.comm()).into_owned(),
            trace: trace.unwrap_or_else(|| self.random.bytes()),
            id: text(&config.span_id)
                .and_then(|t| digits(&t))
                .unwrap_or_else(|| self.random.bytes()),
            parent: parent.filter(|id| *id != [0; 8]),
            name: config
                .name
                .as_ref()
                .map_or_else(|| usual_name(event), |name| filled(name, event)),
            kind: config.kind,
            start: event.time_ns,
            end: event.time_ns,
            attributes: attributes(config, event),
            error: None,
        };
        self.number += 1;
        self.tracks.entry(track).or_default().push(name.clone());
        self.order.push_back((name.clone(), self.number));
        let number = self.number;
        if let Some(before) = self.open.insert(name.clone(), Open { span, track, number }) {
            self.counts.lost += 1;
            // Its own place is taken by the new one's.
            let same_track = before.track == track;
            self.leave(&name, before.track, same_track);
        }
        while self.open.len() > self.limit {
            self.evict();
        }
        if self.order.len() > 2 * self.limit + 16 {
            let open = &self.open;
            self.order.retain(|(name, number)| open.get(name).is_some_and(|o| o.number == *number));
        }
    }

    fn end(&mut self, index: usize, event: &Event<'_>) -> Option<Span> {
        let entry = self.entries.get(index)?;
        let name = (index, event.pid, key(&entry.config, event));
        let Some(open) = self.open.remove(&name) else {
            self.counts.ends += 1;
            return None;
        };
        let mut span = open.span;
        span.end = event.time_ns.max(span.start);
        span.error = failure(&entry.config, event);
        for (name, value) in attributes(&entry.config, event) {
            if !span.attributes.iter().any(|(known, _)| *known == name) {
                span.attributes.push((name, value));
            }
        }
        self.leave(&name, open.track, false);
        Some(span)
    }

    /// Takes a span off its goroutine's. `below_last` says that the last of that name is another one.
    fn leave(&mut self, name: &Name, track: Track, below_last: bool) {
        let Some(names) = self.tracks.get_mut(&track) else { return };
        let mut places =
            names.iter().enumerate().rev().filter(|(_, n)| *n == name).map(|(at, _)| at);
        if let Some(at) = places.nth(usize::from(below_last)) {
            names.remove(at);
        }
        if names.is_empty() {
            self.tracks.remove(&track);
        }
    }

    /// Gives up the oldest.
    fn evict(&mut self) {
        while let Some((name, number)) = self.order.pop_front() {
            if self.open.get(&name).is_some_and(|o| o.number == number)
                && let Some(open) = self.open.remove(&name)
            {
                self.counts.lost += 1;
                return self.leave(&name, open.track, false);
            }
        }
    }

    /// Gives up what processes have left open that are not there any more.
    pub fn forget(&mut self, alive: impl Fn(u32) -> bool) {
        let gone: Vec<Name> =
            self.open.keys().filter(|(_, pid, _)| !alive(*pid)).cloned().collect();
        for name in gone {
            if let Some(open) = self.open.remove(&name) {
                self.counts.lost += 1;
                self.leave(&name, open.track, false);
            }
        }
    }
}

fn key(config: &config::Span, event: &Event<'_>) -> Key {
    let number = |value| Key::Number(value);
    match config.key.as_deref() {
        Some("tid") => number(event.tid.into()),
        None | Some("goid") => number(event.goid.unwrap_or(event.tid.into())),
        Some(name) => match event.arg(name) {
            Some(Value::Signed(n)) => number(n as u64),
            Some(Value::Unsigned(n) | Value::Pointer(n)) => number(n),
            Some(Value::Bool(b)) => number(b.into()),
            Some(Value::Float(n)) => number(n.to_bits()),
            Some(Value::String { bytes, .. } | Value::Bytes { bytes, .. }) => {
                Key::String(bytes.to_vec())
            }
            _ => number(0),
        },
    }
}

fn text_of(event: &Event<'_>, name: &str) -> Option<String> {
    match event.arg(name)? {
        value @ (Value::String { .. } | Value::Bytes { .. }) => Some(value.to_plain_string()),
        _ => None,
    }
}

/// Hexadecimal digits, all of them and no more.
fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let pairs = text.as_bytes().as_chunks::<2>();
    if pairs.0.len() != N || !pairs.1.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(pairs.0) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// Trace and parent of a `traceparent` (W3C Trace Context, level 1, section 3.2), or of a trace id alone.
fn context_of(text: &str) -> (Option<[u8; 16]>, Option<[u8; 8]>) {
    let trace = |text: &str| digits(text).filter(|id| *id != [0; 16]);
    let mut parts = text.split('-');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(version), Some(id), Some(parent), Some(_))
            if version.len() == 2 && version != "ff" =>
        {
            let id = trace(id);
            (id, id.and_then(|_| digits(parent)).filter(|id| *id != [0; 8]))
        }
        (Some(id), None, ..) => (trace(id), None),
        _ => (None, None),
    }
}

/// The probe's name without what says that it is a start.
fn usual_name(event: &Event<'_>) -> String {
    let name = crate::pairs::stem(&event.probe.name).replace("__", "_");
    format!("{}:{name}", event.probe.provider)
}

/// `{ARGUMENT}` replaced.
fn filled(template: &str, event: &Event<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, behind)) = behind.split_once('}') else {
            out.push('{');
            rest = behind;
            continue;
        };
        if let Some(value) = event.arg(name).and_then(attribute) {
            out.push_str(&value.to_string());
        }
        rest = behind;
    }
    out + rest
}

fn attributes(config: &config::Span, event: &Event<'_>) -> Vec<(String, Attribute)> {
    let identity = [&config.trace, &config.span_id, &config.parent_id];
    let wanted = |name: &str| match &config.attributes {
        Some(names) => names.iter().any(|n| n == name),
        None => !identity.iter().any(|n| n.as_deref() == Some(name)),
    };
    let args = event.args().filter(|(name, _)| wanted(name));
    args.filter_map(|(name, value)| Some((name.to_owned(), attribute(value)?))).collect()
}

fn attribute(value: Value<'_>) -> Option<Attribute> {
    Some(match value {
        Value::Signed(n) => Attribute::Int(n),
        // What is larger has no place in a signed number, and is an address or a hash.
        Value::Unsigned(n) | Value::Pointer(n) => {
            i64::try_from(n).map_or_else(|_| Attribute::String(n.to_string()), Attribute::Int)
        }
        Value::Float(n) => Attribute::Float(n),
        Value::Bool(b) => Attribute::Bool(b),
        Value::String { .. } | Value::Bytes { .. } => Attribute::String(value.to_plain_string()),
        _ => return None,
    })
}

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attribute::Int(n) => n.fmt(f),
            Attribute::Float(n) => n.fmt(f),
            Attribute::Bool(b) => b.fmt(f),
            Attribute::String(text) => text.fmt(f),
        }
    }
}

/// What failed, as the argument says that is there for it.
fn failure(config: &config::Span, event: &Event<'_>) -> Option<String> {
    let name = config.error.as_deref()?;
    let at_least = |n: i128| match config.error_at {
        Some(least) => n >= i128::from(least),
        None => n != 0,
    };
    let said = |failed: bool, text: String| failed.then_some(text);
    match event.arg(name)? {
        Value::Signed(n) => said(at_least(n.into()), format!("{name} {n}")),
        Value::Unsigned(n) => said(at_least(n.into()), format!("{name} {n}")),
        Value::Bool(b) => said(b, name.to_owned()),
        Value::String { bytes, .. } => {
            said(!bytes.is_empty(), String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
    }
}

/// Random numbers of the kernel's, fetched a page at a time: ids of traces must not meet.
#[derive(Default)]
struct Random {
    bytes: Vec<u8>,
}

impl Random {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const FETCHED: usize = 4096;
        if self.bytes.len() < N {
            self.bytes.resize(FETCHED, 0);
            let flags = rustix::rand::GetRandomFlags::empty();
            let got = rustix::rand::getrandom(&mut self.bytes, flags).unwrap_or(0);
            self.bytes.truncate(got);
        }
        let rest = self.bytes.len().saturating_sub(N);
        let mut out = [0; N];
        out.iter_mut().zip(self.bytes.drain(rest..)).for_each(|(to, from)| *to = from);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn contexts() {
        let (trace, parent) = context_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!((trace.map(|t| t[0]), parent.map(|p| p[7])), (Some(0x0a), Some(0x31)));
        // What a later version adds is passed over, what no version may be is refused.
        assert!(
            context_of("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").0.is_some()
        );
        assert_eq!(
            context_of("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (None, None)
        );
        assert_eq!(
            context_of("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            (None, None)
        );
        assert!(context_of("0af7651916cd43dd8448eb211c80319c").0.is_some());
        assert_eq!(context_of("0af7651916cd43dd8448eb211c80319"), (None, None));
        assert_eq!(context_of(""), (None, None));
    }

    #[test]
    fn ids_do_not_repeat() {
        let mut random = Random::default();
        let ids: std::collections::HashSet<[u8; 8]> = (0..10_000).map(|_| random.bytes()).collect();
        assert_eq!(ids.len(), 10_000);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", digits in "[0-9a-fé-]{0,60}") {
            let _ = context_of(&text);
            let _ = context_of(&digits);
        }
    }
}
