//! Compiling handlers: laying out the frame, and finding the arguments that a filter, keys and values
//! name.

use super::arguments::{Argument, Arguments};
use super::handler::{Action, Frame, FrameRegion, Handler, KeyWrite};
use super::histogram::{Buckets, Scale};
use super::nesting::{PairBy, RowKey};
use super::reads::{ArgSlot, LayoutBuilder, ReadOp};
use super::record_layout::Layout;
use super::table::{Field, FieldKind, KEY_STRING_LEN};
use crate::filter::{Filter, PROCESS, Subject};
use stapsdt::argspec::Value;
use stapsdt::schema::Kind;
use std::collections::BTreeMap;

/// Size of the largest frame in bytes. A program has 512 bytes of stack, of which compilers need a
/// part.
const MAX_FRAME: u32 = 400;
/// Size of the frame's header in bytes.
const HEADER: u32 = 8;

/// What a handler has to do, in terms of the probe's arguments.
pub(super) enum HandlerSpec<'a> {
    Record {
        max_string: u32,
        stack: Option<u32>,
        /// Whether to record the frame of the call.
        has_frame: bool,
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
        key: &'a PairBy,
        keep: &'a [Subject],
        nests: bool,
    },
    End {
        key: &'a PairBy,
        by: &'a [Subject],
        /// Size in bytes of the label fields kept from the start.
        kept: u32,
        scale: Scale,
        nests: bool,
    },
}

/// A handler and the types of the keys and values it writes.
#[derive(Clone)]
pub(super) struct CompiledHandler {
    pub(super) handler: Handler,
    /// Fields of the table's key; for a start, of the saved value.
    pub(super) fields: Vec<Field>,
    /// Fields of the key of starts; empty if no latency is measured.
    pub(super) key: Vec<Field>,
    /// The buckets of the histogram; `None` if hits are counted or recorded.
    pub(super) buckets: Option<Buckets>,
}

/// Compiles the handler of a probe. `series` is the index of the probe, which keys in the table
/// begin with.
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
        HandlerSpec::Record { max_string, stack, has_frame } => {
            Action::Record(Layout::new(arguments, *max_string, *stack, *has_frame))
        }
        HandlerSpec::Count { by: [] } => Action::Count,
        HandlerSpec::Count { by } => {
            Action::Aggregate { key: builder.region(Some(series), by, &mut fields)?, value: None }
        }
        HandlerSpec::Histogram { value, by, scale } => {
            let slot = builder.integer(value)?;
            buckets = Some(scale.buckets(slot.signed));
            builder.require(slot.fault);
            Action::Aggregate {
                key: builder.region(Some(series), by, &mut fields)?,
                value: Some(slot),
            }
        }
        HandlerSpec::Start { key, keep, nests } => {
            builder.start(key, keep, *nests, &mut key_fields, &mut fields)?
        }
        HandlerSpec::End { key, by, kept, scale, nests } => {
            buckets = Some(scale.buckets(false));
            let row = RowKey { series, by, kept: *kept };
            builder.end(key, &row, *nests, &mut key_fields, &mut fields)?
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

/// What a name in a filter or label refers to.
#[derive(Clone, Copy)]
pub(super) enum ResolvedName<'a> {
    Argument(usize, &'a Argument),
    Pid,
    Tid,
    Goid,
    Comm,
}

/// Lays out the frame of a handler.
pub(super) struct HandlerBuilder<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) layout: LayoutBuilder,
    action_reads: Vec<ReadOp>,
    /// The slots of the arguments in use, by index.
    arg_slots: BTreeMap<usize, ArgSlots>,
    /// The slot of the goroutine id, if it is in use.
    goid: Option<ArgSlot>,
    /// Offset of the thread and process id, once they are in use.
    pid_tgid: Option<u32>,
    /// Fault bits of the reads that the action needs.
    pub(super) required: u32,
    /// False if the handler needs no frame.
    needs_frame: bool,
}

/// The slots of one argument.
struct ArgSlots {
    /// The value, or the reason why it cannot be read.
    value: Result<ArgSlot, String>,
    /// The length of a string; `None` for other arguments and if it cannot be read.
    length: Option<ArgSlot>,
}

impl<'a> HandlerBuilder<'a> {
    /// Adds reads for all arguments that the filter and the specification name, as few as possible.
    pub(super) fn new(
        arguments: &'a Arguments,
        filter: Option<&Filter>,
        spec: &HandlerSpec<'_>,
    ) -> Result<HandlerBuilder<'a>, String> {
        let mut subjects: Vec<&Subject> = Vec::new();
        if let Some(filter) = filter {
            subjects.extend(filter.0.subjects());
        }
        match spec {
            HandlerSpec::Record { .. } => {}
            HandlerSpec::Count { by } => subjects.extend(*by),
            HandlerSpec::Histogram { value, by, .. } => subjects.extend(by.iter().chain([*value])),
            HandlerSpec::Start { key, keep: by, .. } | HandlerSpec::End { key, by, .. } => {
                subjects.extend(*by);
                if let PairBy::Subject(key) = key {
                    subjects.push(key);
                }
            }
        }
        let mut builder = HandlerBuilder {
            arguments,
            layout: LayoutBuilder::new(HEADER),
            action_reads: Vec::new(),
            arg_slots: BTreeMap::new(),
            goid: None,
            pid_tgid: None,
            required: 0,
            needs_frame: filter.is_some()
                || !matches!(spec, HandlerSpec::Record { .. } | HandlerSpec::Count { by: [] }),
        };
        let mut operands = Vec::new();
        let mut indexes = Vec::new();
        let mut uses_goid = false;
        for subject in subjects {
            match builder.resolve(subject)? {
                ResolvedName::Argument(index, argument) if !indexes.contains(&index) => {
                    indexes.push(index);
                    operands.extend(argument.key_operands());
                }
                ResolvedName::Goid => uses_goid = true,
                _ => {}
            }
        }
        if let (true, Some(operand)) = (uses_goid, &arguments.goid) {
            let value = Value { size: 8, signed: false, float: false, operand: operand.clone() };
            operands.push(Ok(value.into()));
        }
        let mut slots = builder.layout.read_all(&operands, arguments.arch).into_iter();
        for index in indexes {
            let has_length = arguments.get(index).is_some_and(|a| a.key_operands().len() > 1);
            let value = slots.next().unwrap_or_else(|| Err(String::new()));
            let length = if has_length { slots.next().and_then(Result::ok) } else { None };
            builder.arg_slots.insert(index, ArgSlots { value, length });
        }
        builder.goid = slots.next().and_then(Result::ok);
        Ok(builder)
    }

    /// Returns what a name refers to.
    pub(super) fn resolve(&self, subject: &Subject) -> Result<ResolvedName<'a>, String> {
        if subject.name == PROCESS {
            return Ok(ResolvedName::Pid);
        }
        if let Some((index, argument)) = self.arguments.find(&subject.name) {
            return Ok(ResolvedName::Argument(index, argument));
        }
        match subject.name.as_str() {
            "pid" => Ok(ResolvedName::Pid),
            "tid" => Ok(ResolvedName::Tid),
            "comm" => Ok(ResolvedName::Comm),
            "goid" if self.arguments.goid.is_some() => Ok(ResolvedName::Goid),
            "goid" => Err(NO_GOID.to_owned()),
            name => Err(format!("no argument `{name}`; the probe has {}", self.arguments.names())),
        }
    }

    /// Marks a read as one that the action needs.
    pub(super) fn require(&mut self, fault: Option<u8>) {
        self.required |= fault.map_or(0, |bit| 1 << bit);
    }

    /// Returns the offset of the thread id, which the process id follows.
    pub(super) fn pid_tgid(&mut self) -> u32 {
        if let Some(at) = self.pid_tgid {
            return at;
        }
        let to = self.layout.reserve(8);
        self.layout.reads.push(ReadOp::PidTgid { to });
        *self.pid_tgid.insert(to)
    }

    /// Returns the slot of a subject's value; for a string, of the pointer to it.
    pub(super) fn slot(&mut self, subject: &Subject) -> Result<ArgSlot, String> {
        let id = |at| ArgSlot { at, size: 4, signed: false, fault: None };
        match self.resolve(subject)? {
            ResolvedName::Argument(index, argument) => {
                let slots = self.arg_slots.get(&index).ok_or_else(String::new)?;
                slots
                    .value
                    .clone()
                    .map_err(|problem| format!("`{}` cannot be read: {problem}", argument.name))
                    .and_then(|slot| match slot.size {
                        ..=8 => Ok(slot),
                        size => Err(format!(
                            "`{}` has {size} bytes; filters, keys and histograms take up to 8",
                            argument.name
                        )),
                    })
            }
            ResolvedName::Tid => Ok(id(self.pid_tgid())),
            ResolvedName::Pid => Ok(id(self.pid_tgid() + 4)),
            ResolvedName::Goid => self.goid.ok_or_else(|| NO_GOID.to_owned()),
            ResolvedName::Comm => Err("`comm` is a string".to_owned()),
        }
    }

    /// Returns the kind of a subject's value.
    pub(super) fn kind(&self, subject: &Subject) -> Result<Kind, String> {
        Ok(match self.resolve(subject)? {
            ResolvedName::Argument(_, a)
                if subject.string && matches!(a.kind, Kind::Int | Kind::Pointer) =>
            {
                Kind::Cstring
            }
            ResolvedName::Argument(_, a) if a.interface.is_some() => Kind::Pointer,
            ResolvedName::Argument(_, a) => a.kind,
            ResolvedName::Comm => Kind::String,
            _ => Kind::Int,
        })
    }

    /// Returns the slot of the integer to build a histogram of.
    fn integer(&mut self, subject: &Subject) -> Result<ArgSlot, String> {
        match self.kind(subject)? {
            Kind::Int | Kind::Bool | Kind::Pointer => self.slot(subject),
            Kind::Float => {
                Err(format!("`{subject}` is a floating-point number; a histogram needs an integer"))
            }
            Kind::Time => Err(format!("`{subject}` is a time; a histogram needs an integer")),
            _ => Err(format!("`{subject}` is a string; a histogram needs an integer")),
        }
    }

    /// Lays out a region with a number in its first 8 bytes, if one is given, and a field for each
    /// subject.
    pub(super) fn region(
        &mut self,
        first: Option<u32>,
        by: &[Subject],
        fields: &mut Vec<Field>,
    ) -> Result<FrameRegion, String> {
        let head = if first.is_some() { 8 } else { 0 };
        let kinds = by.iter().map(|s| self.field_kind(s)).collect::<Result<Vec<_>, _>>()?;
        let size = head + kinds.iter().map(FieldKind::size).sum::<u32>();
        let slots = by
            .iter()
            .zip(&kinds)
            .map(|(s, k)| if *k == FieldKind::Comm { Ok(None) } else { self.slot(s).map(Some) })
            .collect::<Result<Vec<_>, String>>()?;
        let at = self.layout.reserve(size);
        let mut writes: Vec<KeyWrite> =
            first.map(|value| KeyWrite::Constant { to: at, value }).into_iter().collect();
        let mut to = at + head;
        for ((subject, kind), slot) in by.iter().zip(kinds).zip(slots) {
            self.require(slot.and_then(|s| s.fault));
            match (&kind, slot) {
                (FieldKind::String { .. }, Some(pointer)) => {
                    self.key_string(subject, pointer, to)?;
                }
                (FieldKind::Comm, _) => self.action_reads.push(ReadOp::Comm { to }),
                (_, Some(from)) => writes.push(KeyWrite::Slot { to, from }),
                (_, None) => {}
            }
            let start = to;
            to += kind.size();
            fields.push(Field { name: subject.name.clone(), kind, at: start - at });
        }
        Ok(FrameRegion { at, size, writes })
    }

    /// Adds the read of a string into a key.
    fn key_string(&mut self, subject: &Subject, pointer: ArgSlot, to: u32) -> Result<(), String> {
        let length = self.length(subject)?;
        if pointer.size != 8 {
            return Err(format!("`{subject}` is not a pointer to a string"));
        }
        self.require(length.and_then(|length| length.fault));
        let fault = self.layout.next_fault_bit();
        // A C string that cannot be read, such as a null pointer, is a key of its own; the hit is
        // not dropped.
        if length.is_some() {
            self.require(Some(fault));
        }
        self.action_reads.push(ReadOp::String {
            to,
            max: KEY_STRING_LEN,
            pointer: pointer.at,
            length,
            fault,
            fault_in: self.arguments.fault_in,
        });
        Ok(())
    }

    /// Returns the slot of a string's length; `None` if the subject has no length.
    pub(super) fn length(&self, subject: &Subject) -> Result<Option<ArgSlot>, String> {
        let ResolvedName::Argument(index, argument) = self.resolve(subject)? else {
            return Ok(None);
        };
        let length = self.arg_slots.get(&index).and_then(|slots| slots.length);
        if argument.length.is_some() && length.is_none() {
            return Err(format!("the length of `{subject}` cannot be read"));
        }
        Ok(length)
    }

    /// Returns the type of a subject as a field of a key.
    pub(super) fn field_kind(&self, subject: &Subject) -> Result<FieldKind, String> {
        let value_slot =
            |index: usize| self.arg_slots.get(&index).and_then(|slots| slots.value.as_ref().ok());
        Ok(match (self.resolve(subject)?, self.kind(subject)?) {
            (ResolvedName::Comm, _) => FieldKind::Comm,
            (ResolvedName::Argument(index, Argument { labels: Some(labels), .. }), Kind::Int) => {
                let signed = value_slot(index).is_some_and(|slot| slot.signed);
                FieldKind::Enum { labels: labels.clone(), signed }
            }
            (ResolvedName::Argument(index, _), Kind::Int) => {
                FieldKind::Int { signed: value_slot(index).is_some_and(|slot| slot.signed) }
            }
            (ResolvedName::Argument(index, _), Kind::Float) => {
                FieldKind::Float { size: value_slot(index).map_or(8, |slot| slot.size) }
            }
            (_, Kind::Bool) => FieldKind::Bool,
            (_, Kind::Pointer) => FieldKind::Pointer,
            (_, Kind::Int | Kind::Float) => FieldKind::Int { signed: false },
            (_, Kind::Time) => {
                return Err(format!("`{subject}` is a time, which cannot be a label or a key"));
            }
            (_, Kind::Bytes) => FieldKind::String { bytes: true },
            (_, Kind::Cstring | Kind::String | Kind::Error) => FieldKind::string(),
        })
    }

    /// Returns the frame.
    pub(super) fn finish(self) -> Result<Frame, String> {
        if !self.needs_frame {
            return Ok(Frame::default());
        }
        let size = self.layout.end.next_multiple_of(8);
        if size > MAX_FRAME {
            return Err(format!(
                "filter and keys need {size} bytes of BPF stack (limit {MAX_FRAME}); use fewer string arguments"
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

/// Message for a probe whose code is not Go, or whose Go release is not known.
const NO_GOID: &str = "the probe has no goroutine id";
