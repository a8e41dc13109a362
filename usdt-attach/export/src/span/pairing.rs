//! Pairing starts with ends, and finding the parents of spans.

use super::goroutines::{Goroutines, is_creation};
use super::{
    Attribute, NameValues, PairValue, RandomBytes, Span, TraceContext, attributes, error_message,
    id_arg, pair_value, parse_hex,
};
use crate::call_stack::{CallStack, Popped};
use crate::config;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use usdt_attach::discover::select::Glob;
use usdt_attach::event::{Event, Track};
use usdt_attach::plan::PlannedProbe;

/// The attribute of a span that was exported although its end did not come.
const UNFINISHED: &str = "usdt.unfinished";

/// Identifies the starts that an end can belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OpenKey {
    /// The index of the configuration entry.
    entry: usize,
    pid: u32,
    value: PairValue,
}

struct OpenSpan {
    span: Span,
    key: OpenKey,
    track: Track,
    /// The frame of the call, if the span is one of a function; see [`Event::frame`].
    frame: Option<u64>,
    /// The arguments of the start that the name contains.
    name_values: NameValues,
    /// The enclosing span, if this one names it as its parent.
    parent: Option<u64>,
    /// True if another span names this one as its parent, so that it must be exported.
    is_parent: bool,
    /// The time of the last start or end of a child; at first, that of the own start.
    last_ns: u64,
}

/// How many starts and ends have been paired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanCounts {
    /// Spans with a start and an end.
    pub complete: u64,
    /// Ends without a start.
    pub without_start: u64,
    /// Starts that were given up: another start had the same argument as key, too many spans were
    /// open or nested, or the process ended.
    pub without_end: u64,
    /// Starts that were given up, but exported, because other spans name them as their parent.
    pub unfinished: u64,
    /// Of the starts that were given up, those within which too many of the same entry were nested.
    pub too_deep: u64,
}

/// Pairs starts and ends, and builds spans from them.
///
/// The starts of one goroutine or thread are a stack: an end belongs to the innermost one. If an
/// argument pairs them, it identifies one span, and a start replaces an open one with the same
/// value.
///
/// The entry and the return of a function have the same frame, which pairs them. A call that a panic
/// ended has no return: it is given up as soon as its goroutine is in a call at its frame or outside.
///
/// A span becomes a child of the span that was started last, and is still open, in the same
/// goroutine, or in the same thread outside of Go. If there is none, it becomes a child of the span
/// that was open where its goroutine was created, as long as that one is open.
///
/// Every parent that a span names is exported. If the end of a parent does not come, it is exported
/// as unfinished when it is given up.
pub struct Pairing {
    entries: Vec<Entry>,
    /// What the events of each probe are, resolved at its first event.
    roles: HashMap<PlannedProbe, Arc<[Role]>>,
    /// The open spans by the number of their start.
    open: HashMap<u64, OpenSpan>,
    /// The numbers of the open spans by key.
    stacks: HashMap<OpenKey, CallStack<u64>>,
    /// The numbers of the starts in their order. Some of them are not open any more.
    start_order: VecDeque<u64>,
    /// The open spans of each goroutine or thread, the innermost last.
    tracks: HashMap<Track, Vec<u64>>,
    goroutines: Goroutines,
    /// Unfinished spans that wait to be taken.
    unfinished: Vec<Span>,
    max_open: usize,
    /// The number of the last start.
    sequence: u64,
    random: RandomBytes,
    counts: SpanCounts,
}

struct Entry {
    config: config::Span,
    start: Glob,
    end: Glob,
    /// True if the start is the entry of functions, and the end their returns.
    is_function: bool,
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
            is_function: Glob::new(&config.start).returns().as_ref() == Some(&config.end),
            config: config.clone(),
        };
        Pairing {
            entries: spans.iter().map(entry).collect(),
            roles: HashMap::new(),
            open: HashMap::new(),
            stacks: HashMap::new(),
            start_order: VecDeque::new(),
            tracks: HashMap::new(),
            goroutines: Goroutines::new(max_open),
            unfinished: Vec::new(),
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

    /// Adds an event, and passes each span that it ends or gives up to `on_span`. Events must come
    /// in the order of their times.
    pub fn add_event(&mut self, event: &Event<'_>, mut on_span: impl FnMut(Span)) {
        if is_creation(event.probe) {
            let tracks = &self.tracks;
            self.goroutines.add_creation(event, |track| {
                tracks.get(&track).and_then(|spans| spans.last()).copied()
            });
        }
        let roles = self.roles(event.probe);
        if let Some(frame) = event.frame() {
            let is_entry = roles.iter().all(|role| role.is_start);
            self.give_up_unwound(event.track(), frame, is_entry);
        }
        for role in roles.iter() {
            if role.is_start {
                self.start(role.entry, event);
            } else if let Some(span) = self.end(role.entry, event) {
                self.counts.complete += 1;
                on_span(span);
            }
        }
        self.take_unfinished(on_span);
    }

    /// Gives up the calls of a goroutine that have ended without a return, as a call at a frame shows:
    /// those nested in it and, at its entry, an earlier one at the same frame.
    fn give_up_unwound(&mut self, track: Track, frame: u64, is_entry: bool) {
        loop {
            let innermost = self
                .tracks
                .get(&track)
                .into_iter()
                .flatten()
                .rev()
                .find_map(|number| Some((*number, self.open.get(number)?.frame?)));
            match innermost {
                Some((number, nested)) if nested > frame || is_entry && nested == frame => {
                    self.give_up(number);
                }
                _ => return,
            }
        }
    }

    /// Gives up the open spans of processes that have ended. Passes those that other spans name as
    /// their parent to `on_span`.
    pub fn discard_processes(&mut self, is_alive: impl Fn(u32) -> bool, on_span: impl FnMut(Span)) {
        let pids: HashSet<u32> = self.open.values().map(|open| open.key.pid).collect();
        let ended: HashSet<u32> = pids.into_iter().filter(|pid| !is_alive(*pid)).collect();
        let mut numbers: Vec<u64> = self
            .open
            .iter()
            .filter_map(|(number, open)| ended.contains(&open.key.pid).then_some(*number))
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            self.give_up(number);
        }
        self.take_unfinished(on_span);
    }

    fn take_unfinished(&mut self, on_span: impl FnMut(Span)) {
        if !self.unfinished.is_empty() {
            self.unfinished.drain(..).for_each(on_span);
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
        let Some(entry) = self.entries.get(index) else { return };
        let config = &entry.config;
        let nests = nests(config);
        let frame = entry.frame(event);
        let key = entry.open_key(index, event);
        let track = event.track();
        let id = |name: &Option<String>, size| id_arg(event, name.as_deref()?, size);
        let mut trace_id = None;
        let mut parent_id = id(&config.parent_id, 8).and_then(|text| parse_hex(&text));
        if let Some(text) = id(&config.trace, 16) {
            let context = TraceContext::parse(&text);
            trace_id = context.trace_id;
            parent_id = parent_id.or(context.parent_id);
        }
        let mut parent = None;
        if trace_id.is_none()
            && let Some(number) = self.enclosing(track)
            && let Some(enclosing) = self.open.get_mut(&number)
        {
            trace_id = Some(enclosing.span.trace_id);
            if parent_id.is_none() {
                parent_id = Some(enclosing.span.span_id);
                parent = Some(number);
                enclosing.is_parent = true;
                enclosing.last_ns = enclosing.last_ns.max(event.time_ns);
            }
        }
        let span = Span {
            pid: event.pid,
            comm: String::from_utf8_lossy(event.comm()).into_owned(),
            trace_id: trace_id.unwrap_or_else(|| self.random.bytes()),
            span_id: id(&config.span_id, 8)
                .and_then(|text| parse_hex(&text))
                .unwrap_or_else(|| self.random.bytes()),
            parent_id: parent_id.filter(|id| *id != [0; 8]),
            name: String::new(),
            kind: config.kind,
            start_ns: event.time_ns,
            end_ns: event.time_ns,
            attributes: attributes(config, event),
            error: None,
        };
        let name_values = NameValues::of_start(config.name.as_deref(), event);
        if !nests && let Some(replaced) = self.pop(&key) {
            self.give_up(replaced);
        }
        self.sequence += 1;
        let number = self.sequence;
        self.tracks.entry(track).or_default().push(number);
        self.start_order.push_back(number);
        let (is_parent, last_ns) = (false, event.time_ns);
        let lost = self.stacks.entry(key.clone()).or_default().push(number);
        let open = OpenSpan { span, key, track, frame, name_values, parent, is_parent, last_ns };
        self.open.insert(number, open);
        if let Some(lost) = lost {
            self.counts.too_deep += 1;
            self.give_up(lost);
        }
        while self.open.len() > self.max_open {
            self.evict_oldest();
        }
        // Keeps the queue in proportion to the open spans, at a constant cost per start.
        if self.start_order.len() > 2 * self.max_open + 16 {
            let open = &self.open;
            self.start_order.retain(|number| open.contains_key(number));
        }
    }

    /// The number of the span that encloses what a goroutine or thread does.
    fn enclosing(&self, track: Track) -> Option<u64> {
        let own = self.tracks.get(&track).and_then(|spans| spans.last()).copied();
        own.or_else(|| self.goroutines.span(track))
    }

    fn end(&mut self, index: usize, event: &Event<'_>) -> Option<Span> {
        let key = self.entries.get(index)?.open_key(index, event);
        let stack = self.stacks.get_mut(&key);
        let popped = stack.map_or(Popped::Empty, CallStack::pop);
        if self.stacks.get(&key).is_some_and(CallStack::is_empty) {
            self.stacks.remove(&key);
        }
        let number = match popped {
            Popped::Call(number) => number,
            Popped::TooDeep => return None,
            Popped::Empty => {
                self.counts.without_start += 1;
                return None;
            }
        };
        let open = self.open.remove(&number)?;
        let mut span = open.span;
        let config = &self.entries.get(index)?.config;
        span.end_ns = event.time_ns.max(span.start_ns);
        span.error = error_message(config, event);
        span.name = open.name_values.with_end(config.name.as_deref(), event);
        for (name, value) in attributes(config, event) {
            if !span.attributes.iter().any(|(known, _)| *known == name) {
                span.attributes.push((name, value));
            }
        }
        if let Some(parent) = open.parent.and_then(|parent| self.open.get_mut(&parent)) {
            parent.last_ns = parent.last_ns.max(event.time_ns);
        }
        self.goroutines.remove_span(number);
        self.remove_from_track(number, open.track, event.track() == open.track);
        Some(span)
    }

    /// Removes the innermost span of a key from its stack.
    fn pop(&mut self, key: &OpenKey) -> Option<u64> {
        match self.stacks.remove(key)?.pop() {
            Popped::Call(number) => Some(number),
            Popped::TooDeep | Popped::Empty => None,
        }
    }

    /// Gives up an open span. If another span names it as its parent, it is exported as unfinished.
    fn give_up(&mut self, number: u64) {
        let Some(open) = self.open.remove(&number) else { return };
        if let Some(stack) = self.stacks.get_mut(&open.key) {
            stack.remove(|known| *known == number);
            if stack.is_empty() {
                self.stacks.remove(&open.key);
            }
        }
        self.goroutines.remove_span(number);
        self.remove_from_track(number, open.track, false);
        if !open.is_parent {
            self.counts.without_end += 1;
            return;
        }
        self.counts.unfinished += 1;
        let mut span = open.span;
        span.end_ns = open.last_ns;
        span.name = open.name_values.without_end(self.template(open.key.entry));
        span.attributes.push((UNFINISHED.to_owned(), Attribute::Bool(true)));
        self.unfinished.push(span);
    }

    fn template(&self, entry: usize) -> Option<&str> {
        self.entries.get(entry)?.config.name.as_deref()
    }

    /// Removes a span from the open spans of its goroutine or thread. If it has ended there, the
    /// nested spans that started within it have lost their ends: they do not enclose what follows.
    fn remove_from_track(&mut self, number: u64, track: Track, with_nested: bool) {
        let Some(numbers) = self.tracks.get_mut(&track) else { return };
        if numbers.last() == Some(&number) {
            numbers.pop();
        } else if let Some(index) = numbers.iter().rposition(|known| *known == number) {
            let inner = numbers.split_off(index);
            let (open, entries) = (&self.open, &self.entries);
            let is_nested = |number: &u64| {
                let entry = open.get(number).and_then(|open| entries.get(open.key.entry));
                entry.is_some_and(|entry| nests(&entry.config))
            };
            let stays = |n: &u64| *n != number && !(with_nested && is_nested(n));
            numbers.extend(inner.into_iter().filter(stays));
        }
        if numbers.is_empty() {
            self.tracks.remove(&track);
        }
    }

    /// Gives up the oldest open span.
    fn evict_oldest(&mut self) {
        while let Some(number) = self.start_order.pop_front() {
            if self.open.contains_key(&number) {
                return self.give_up(number);
            }
        }
    }
}

/// True if the starts with the same key are a stack: those of a goroutine or a thread.
fn nests(config: &config::Span) -> bool {
    matches!(config.key.as_deref(), None | Some("goid" | "tid"))
}

impl Entry {
    /// Returns the frame that pairs an event, if a frame does.
    fn frame(&self, event: &Event<'_>) -> Option<u64> {
        event.frame().filter(|_| self.is_function && nests(&self.config))
    }

    fn open_key(&self, index: usize, event: &Event<'_>) -> OpenKey {
        let value = match self.frame(event) {
            Some(frame) => PairValue::Frame(event.track().id, frame),
            None => pair_value(self.config.key.as_deref(), event),
        };
        OpenKey { entry: index, pid: event.pid, value }
    }
}
