//! How a program of the user's own reads arguments, one by one.

use super::arguments::Arguments;
use super::handler::{HandlerBuilder, HandlerSpec};
use super::reads::{ArgSlot, ReadOp};
use super::table::FieldKind;
use crate::filter::Subject;

/// How an argument is read by a program of the user's own.
pub(crate) struct Access {
    /// The argument.
    pub(crate) name: String,
    /// Bytes of the frame.
    pub(crate) size: u32,
    /// What fills it.
    pub(crate) reads: Vec<ReadOp>,
    /// The value, or the pointer.
    pub(crate) slot: ArgSlot,
    /// For text: its length, `None` where a zero ends it.
    pub(crate) string: Option<Option<ArgSlot>>,
}

/// How each argument is read that can be, the goroutine id included.
pub(crate) fn accesses(probe: &crate::discover::Probe, strings: &[String]) -> Vec<Access> {
    let arguments = Arguments::new(probe, strings);
    let names = arguments.list.iter().map(|a| a.name.as_str()).chain(["goid"]);
    let access = |name: &str| {
        let subject = Subject { name: name.to_owned(), string: false };
        let spec = HandlerSpec::Count { by: std::slice::from_ref(&subject) };
        let mut builder = HandlerBuilder::new(&arguments, None, &spec).ok()?;
        let slot = builder.word(&subject).ok()?;
        let is_string =
            builder.field_kind(&subject).is_ok_and(|k| matches!(k, FieldKind::String { .. }));
        let string = if is_string { Some(builder.length(&subject).ok()?) } else { None };
        let frame = builder.finish().ok()?;
        Some(Access {
            name: name.to_owned(),
            size: frame.size,
            reads: frame.filter_reads,
            slot,
            string,
        })
    };
    names.filter_map(access).collect()
}
