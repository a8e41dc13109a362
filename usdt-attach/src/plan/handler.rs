//! What the program does on a hit: fetch, filter, act.
//!
//! What the filter, the keys and the values need is fetched into a *frame*, a part of the program's stack:
//!
//! ```text
//!  0  u32 unused    8  words, then what they point to, then the keys and values of maps
//!  4  u32 faults
//! ```

use super::arguments::{Argument, Arguments};
use super::condition::Condition;
use super::histogram::{Buckets, Scale};
use super::reads::{ArgSlot, LayoutBuilder, ReadOp};
use super::record_layout::Layout;
use super::table::{Field, FieldKind, KEY_STRING_LEN};
use crate::filter::{Expr, Filter, Subject};
use serde::Serialize;
use stapsdt::argspec::Value;
use stapsdt::schema::Kind;
use std::collections::BTreeMap;

/// What the program does on a hit. Sites of the same shape share one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Handler {
    /// The site is the branch of a stack check: hits at which it is taken are none, because the function begins again
    /// when the stack has grown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stack_check: bool,
    /// What is fetched before the action, unless it records.
    pub frame: Frame,
    /// What must hold.
    pub filter: Option<Condition>,
    /// Index of the probe whose hits are counted together against the rate.
    pub rate: Option<u32>,
    /// What is done then.
    pub action: Action,
}

/// The program's stack while it decides and aggregates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Frame {
    /// Bytes; 0 for none.
    pub size: u32,
    /// Before the filter.
    pub filter_reads: Vec<ReadOp>,
    /// After it.
    pub action_reads: Vec<ReadOp>,
    /// Fault bits of what the action cannot do without.
    pub required: u32,
}

/// What is done with a hit that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Writes a record for the reader.
    Record(Layout),
    /// Nothing: every hit is counted anyway.
    Count,
    /// Adds to the table's entry of a key.
    Aggregate {
        /// The key.
        key: FrameRegion,
        /// The value; `None` counts.
        value: Option<ArgSlot>,
    },
    /// Notes the time under a key.
    Start {
        /// The key.
        key: FrameRegion,
        /// The time, then what is kept for the other end.
        saved: FrameRegion,
    },
    /// Adds the time since the start of the same key to the table.
    End {
        /// The start's key.
        start: FrameRegion,
        /// The table's key.
        key: FrameRegion,
        /// Bytes kept at the start, which are the end of the table's key.
        kept: u32,
    },
}

/// A part of the frame, filled just before it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct FrameRegion {
    /// Offset in the frame.
    pub at: u32,
    /// Bytes, a multiple of 8.
    pub size: u32,
    /// What is put there; text is there already.
    pub writes: Vec<KeyWrite>,
}

/// Puts 8 bytes into an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyWrite {
    /// A number.
    Constant {
        /// Offset in the frame.
        to: u32,
        /// The number.
        value: u32,
    },
    /// A word, sized and with its sign.
    Slot {
        /// Offset in the frame.
        to: u32,
        /// The word.
        from: ArgSlot,
    },
}

/// Most bytes of a frame: the kernel gives a program 512, and compilers want some of it.
const LARGEST_FRAME: u32 = 400;
/// Bytes in front of the first word.
const HEADER: u32 = 8;

/// What a handler is to do, in terms of the probe.
pub(super) enum HandlerSpec<'a> {
    Record {
        max_string: u32,
        stack: Option<u32>,
    },
    Count {
        by: &'a [Subject],
    },
    Histogram {
        value: &'a Subject,
        by: &'a [Subject],
        scale: Scale,
    },
    Start {
        key: &'a Subject,
        keep: &'a [Subject],
    },
    /// `kept` bytes come from the start.
    End {
        key: &'a Subject,
        by: &'a [Subject],
        kept: u32,
        scale: Scale,
    },
}

/// A handler, and how the keys and values it makes read.
#[derive(Clone)]
pub(super) struct CompiledHandler {
    pub(super) handler: Handler,
    /// Of the table's key; for a start, of what is kept.
    pub(super) fields: Vec<Field>,
    /// Of the start's key.
    pub(super) key: Vec<Field>,
    pub(super) buckets: Option<Buckets>,
}

/// Makes the handler of a probe. `series` is the number its entries in the table carry.
pub(super) fn compile(
    arguments: &Arguments,
    filter: Option<&Filter>,
    spec: &HandlerSpec<'_>,
    series: u32,
) -> Result<CompiledHandler, String> {
    let mut builder = HandlerBuilder::new(arguments, filter, spec)?;
    let filter = filter.map(|f| builder.condition(&f.0)).transpose()?;
    let (mut fields, mut key_fields, mut buckets) = (Vec::new(), Vec::new(), None);
    let action = match spec {
        HandlerSpec::Record { max_string, stack } => {
            Action::Record(Layout::new(arguments, *max_string, *stack))
        }
        HandlerSpec::Count { by: [] } => Action::Count,
        HandlerSpec::Count { by } => {
            Action::Aggregate { key: builder.region(Some(series), by, &mut fields)?, value: None }
        }
        HandlerSpec::Histogram { value, by, scale } => {
            let word = builder.integer(value)?;
            buckets = Some(scale.buckets(word.signed));
            builder.require(word.fault);
            Action::Aggregate {
                key: builder.region(Some(series), by, &mut fields)?,
                value: Some(word),
            }
        }
        HandlerSpec::Start { key, keep } => {
            let key = builder.start_key(key, &mut key_fields)?;
            let mut saved = builder.region(Some(0), keep, &mut fields)?;
            // The time stands there.
            saved.writes.retain(|m| !matches!(m, KeyWrite::Constant { .. }));
            Action::Start { key, saved }
        }
        HandlerSpec::End { key, by, kept, scale } => {
            buckets = Some(scale.buckets(false));
            let start = builder.start_key(key, &mut key_fields)?;
            let mut key = builder.region(Some(series), by, &mut fields)?;
            // The area is the last one: what is kept is copied behind it.
            builder.layout.take(*kept);
            key.size += kept;
            Action::End { start, key, kept: *kept }
        }
    };
    let frame = builder.finish()?;
    Ok(CompiledHandler {
        handler: Handler { stack_check: false, frame, filter, rate: None, action },
        fields,
        key: key_fields,
        buckets,
    })
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(super) enum ResolvedName<'a> {
    Argument(usize, &'a Argument),
    Pid,
    Tid,
    Goid,
    Comm,
}

pub(super) struct HandlerBuilder<'a> {
    arguments: &'a Arguments,
    pub(super) layout: LayoutBuilder,
    action_reads: Vec<ReadOp>,
    /// Words of the arguments in use: value and length.
    words: BTreeMap<usize, (Result<ArgSlot, String>, Option<ArgSlot>)>,
    goid: Option<ArgSlot>,
    pid_tgid: Option<u32>,
    required: u32,
    used: bool,
}

impl<'a> HandlerBuilder<'a> {
    /// Fetches every word that is needed, in as few reads as possible.
    pub(super) fn new(
        arguments: &'a Arguments,
        filter: Option<&Filter>,
        spec: &HandlerSpec<'_>,
    ) -> Result<HandlerBuilder<'a>, String> {
        let mut subjects: Vec<&Subject> = Vec::new();
        if let Some(filter) = filter {
            subjects_of(&filter.0, &mut subjects);
        }
        match spec {
            HandlerSpec::Record { .. } => {}
            HandlerSpec::Count { by } => subjects.extend(*by),
            HandlerSpec::Histogram { value, by, .. } => subjects.extend(by.iter().chain([*value])),
            HandlerSpec::Start { key, keep } => subjects.extend(keep.iter().chain([*key])),
            HandlerSpec::End { key, by, .. } => subjects.extend(by.iter().chain([*key])),
        }
        let mut builder = HandlerBuilder {
            arguments,
            layout: LayoutBuilder::new(HEADER),
            action_reads: Vec::new(),
            words: BTreeMap::new(),
            goid: None,
            pid_tgid: None,
            required: 0,
            used: filter.is_some()
                || !matches!(spec, HandlerSpec::Record { .. } | HandlerSpec::Count { by: [] }),
        };
        let mut places = Vec::new();
        let mut owners = Vec::new();
        let mut goid = false;
        for subject in subjects {
            match builder.resolve(subject)? {
                ResolvedName::Argument(index, argument) if !owners.contains(&index) => {
                    owners.push(index);
                    places.push(argument.value.clone());
                    places.extend(argument.length.clone());
                }
                ResolvedName::Goid => goid = true,
                _ => {}
            }
        }
        if let (true, Some(operand)) = (goid, &arguments.goid) {
            let value = Value { size: 8, signed: false, float: false, operand: operand.clone() };
            places.push(Ok(value.into()));
        }
        let mut words = builder.layout.words(&places, arguments.arch).into_iter();
        for index in owners {
            let has_length = arguments.list.get(index).is_some_and(|a| a.length.is_some());
            let word = words.next().unwrap_or_else(|| Err(String::new()));
            let length = if has_length { words.next().and_then(Result::ok) } else { None };
            builder.words.insert(index, (word, length));
        }
        builder.goid = words.next().and_then(Result::ok);
        Ok(builder)
    }

    pub(super) fn resolve(&self, subject: &Subject) -> Result<ResolvedName<'a>, String> {
        let at =
            |argument: &Argument| self.arguments.list.iter().position(|a| a.name == argument.name);
        if let Some(argument) = self.arguments.find(&subject.name)
            && let Some(index) = at(argument)
        {
            return Ok(ResolvedName::Argument(index, argument));
        }
        match subject.name.as_str() {
            "pid" => Ok(ResolvedName::Pid),
            "tid" => Ok(ResolvedName::Tid),
            "comm" => Ok(ResolvedName::Comm),
            "goid" if self.arguments.goid.is_some() => Ok(ResolvedName::Goid),
            "goid" => Err("it has no goroutine id".to_owned()),
            name => Err(format!("it has no argument `{name}`, but {}", self.arguments.names())),
        }
    }

    fn require(&mut self, fault: Option<u8>) {
        self.required |= fault.map_or(0, |bit| 1 << bit);
    }

    fn pid_tgid(&mut self) -> u32 {
        if let Some(at) = self.pid_tgid {
            return at;
        }
        let to = self.layout.take(8);
        self.layout.reads.push(ReadOp::PidTgid { to });
        *self.pid_tgid.insert(to)
    }

    /// The number that a name stands for: for text the pointer to it.
    pub(super) fn word(&mut self, subject: &Subject) -> Result<ArgSlot, String> {
        let plain = |at| ArgSlot { at, size: 4, signed: false, fault: None };
        match self.resolve(subject)? {
            ResolvedName::Argument(index, argument) => {
                let (word, _) = self.words.get(&index).ok_or_else(String::new)?;
                word.clone()
                    .map_err(|problem| format!("`{}` cannot be read: {problem}", argument.name))
            }
            ResolvedName::Tid => Ok(plain(self.pid_tgid())),
            ResolvedName::Pid => Ok(plain(self.pid_tgid() + 4)),
            ResolvedName::Goid => self.goid.ok_or_else(|| "it has no goroutine id".to_owned()),
            ResolvedName::Comm => Err("`comm` is text".to_owned()),
        }
    }

    pub(super) fn kind(&self, subject: &Subject) -> Result<Kind, String> {
        Ok(match self.resolve(subject)? {
            ResolvedName::Argument(_, a)
                if subject.string && matches!(a.kind, Kind::Int | Kind::Pointer) =>
            {
                Kind::Cstring
            }
            ResolvedName::Argument(_, a) => a.kind,
            ResolvedName::Comm => Kind::String,
            _ => Kind::Int,
        })
    }

    fn integer(&mut self, subject: &Subject) -> Result<ArgSlot, String> {
        match self.kind(subject)? {
            Kind::Int | Kind::Bool | Kind::Pointer => self.word(subject),
            Kind::Float => Err(format!("`{subject}` is no integer; histograms are of integers")),
            _ => Err(format!("`{subject}` is text; histograms are of integers")),
        }
    }

    /// An area of a number, where there is one, and the values of names.
    fn region(
        &mut self,
        first: Option<u32>,
        by: &[Subject],
        fields: &mut Vec<Field>,
    ) -> Result<FrameRegion, String> {
        let head = if first.is_some() { 8 } else { 0 };
        let kinds = by.iter().map(|s| self.field_kind(s)).collect::<Result<Vec<_>, _>>()?;
        let size = head + kinds.iter().map(|k| k.size()).sum::<u32>();
        let words = by
            .iter()
            .zip(&kinds)
            .map(|(s, k)| if *k == FieldKind::Comm { Ok(None) } else { self.word(s).map(Some) })
            .collect::<Result<Vec<_>, String>>()?;
        let at = self.layout.take(size);
        let mut writes: Vec<KeyWrite> =
            first.map(|value| KeyWrite::Constant { to: at, value }).into_iter().collect();
        let mut to = at + head;
        for ((subject, kind), word) in by.iter().zip(kinds).zip(words) {
            self.require(word.and_then(|w| w.fault));
            match (kind, word) {
                (FieldKind::String { .. }, Some(word)) => self.key_text(subject, word, to)?,
                (FieldKind::Comm, _) => self.action_reads.push(ReadOp::Comm { to }),
                (_, Some(from)) => writes.push(KeyWrite::Slot { to, from }),
                (_, None) => {}
            }
            fields.push(Field { name: subject.name.clone(), kind, at: to - at });
            to += kind.size();
        }
        Ok(FrameRegion { at, size, writes })
    }

    fn key_text(&mut self, subject: &Subject, word: ArgSlot, to: u32) -> Result<(), String> {
        let length = self.length(subject)?;
        if word.size != 8 || length.is_some_and(|l| l.size != 8) {
            return Err(format!("`{subject}` is no pointer to text"));
        }
        let fault = self.layout.fault();
        // A nil pointer is no text, and counts as an empty one.
        if length.is_some() {
            self.require(Some(fault));
        }
        self.action_reads.push(ReadOp::String {
            to,
            max: KEY_STRING_LEN,
            pointer: word.at,
            length: length.map(|l| l.at),
            fault,
        });
        Ok(())
    }

    pub(super) fn length(&self, subject: &Subject) -> Result<Option<ArgSlot>, String> {
        let ResolvedName::Argument(index, argument) = self.resolve(subject)? else {
            return Ok(None);
        };
        let length = self.words.get(&index).and_then(|(_, length)| *length);
        if argument.length.is_some() && length.is_none() {
            return Err(format!("the length of `{subject}` cannot be read"));
        }
        Ok(length)
    }

    pub(super) fn field_kind(&self, subject: &Subject) -> Result<FieldKind, String> {
        let signed = |index: usize| {
            self.words.get(&index).and_then(|(w, _)| w.as_ref().ok()).is_some_and(|w| w.signed)
        };
        Ok(match (self.resolve(subject)?, self.kind(subject)?) {
            (ResolvedName::Comm, _) => FieldKind::Comm,
            (ResolvedName::Argument(_, Argument { labels: Some(labels), .. }), Kind::Int) => {
                FieldKind::Enum { labels }
            }
            (ResolvedName::Argument(index, _), Kind::Int) => {
                FieldKind::Int { signed: signed(index) }
            }
            (ResolvedName::Argument(index, _), Kind::Float) => {
                let size =
                    self.words.get(&index).and_then(|(w, _)| w.as_ref().ok()).map_or(8, |w| w.size);
                FieldKind::Float { size }
            }
            (_, Kind::Bool) => FieldKind::Bool,
            (_, Kind::Pointer) => FieldKind::Pointer,
            (_, Kind::Int | Kind::Float) => FieldKind::Int { signed: false },
            (_, Kind::Bytes) => FieldKind::String { bytes: true },
            (_, Kind::Cstring | Kind::String | Kind::Error) => FieldKind::string(),
        })
    }

    /// What tells one start from another: the process, and what the user says.
    fn start_key(&mut self, key: &Subject, fields: &mut Vec<Field>) -> Result<FrameRegion, String> {
        let pid = ArgSlot { at: self.pid_tgid() + 4, size: 4, signed: false, fault: None };
        let mut region = self.region(Some(0), std::slice::from_ref(key), fields)?;
        region.writes.retain(|m| !matches!(m, KeyWrite::Constant { .. }));
        region.writes.push(KeyWrite::Slot { to: region.at, from: pid });
        Ok(region)
    }

    pub(super) fn finish(self) -> Result<Frame, String> {
        if !self.used {
            return Ok(Frame::default());
        }
        let size = self.layout.end.next_multiple_of(8);
        if size > LARGEST_FRAME {
            return Err(format!(
                "filter and keys need {size} bytes of the kernel program's stack, of {LARGEST_FRAME}; use fewer texts"
            ));
        }
        Ok(Frame {
            size,
            filter_reads: self.layout.reads,
            action_reads: self.action_reads,
            required: self.required,
        })
    }
}

/// Every name in a filter.
fn subjects_of<'f>(expr: &'f Expr, out: &mut Vec<&'f Subject>) {
    match expr {
        Expr::All(a, b) | Expr::Any(a, b) => {
            subjects_of(a, out);
            subjects_of(b, out);
        }
        Expr::Not(inner) => subjects_of(inner, out),
        Expr::Compare { subject, .. } => out.push(subject),
    }
}
