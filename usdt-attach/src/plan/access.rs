//! Access to single arguments, for C programs that users write (`usdt-attach run`).

use super::arguments::Arguments;
use super::handler_builder::{HandlerBuilder, HandlerSpec};
use super::reads::{ArgSlot, ReadOp};
use super::table::FieldKind;
use crate::discover::Probe;
use crate::filter::Subject;

/// How a user's program reads one argument: a frame, the operations that fill it, and the place of
/// the argument in it.
pub(crate) struct Access {
    /// The name of the argument.
    pub(crate) name: String,
    /// Size of the frame in bytes.
    pub(crate) size: u32,
    /// Operations that fill the frame.
    pub(crate) reads: Vec<ReadOp>,
    /// The value, or the pointer to a string.
    pub(crate) slot: ArgSlot,
    /// How the string ends; `None` if the argument is not a string.
    pub(crate) string: Option<StringEnd>,
    /// True if the program brings the string into memory, where the kernel lets it sleep.
    pub(crate) fault_in: bool,
}

/// How the end of a string is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringEnd {
    /// A NUL ends it.
    Nul,
    /// It has a length.
    Length(ArgSlot),
}

/// Returns the access to each argument of a probe that can be read, and to the goroutine id as
/// `goid`.
pub(crate) fn accesses(probe: &Probe, strings: &[String]) -> Vec<Access> {
    let arguments = Arguments::new(probe, strings);
    let names = arguments.all_names().chain(["goid".to_owned()]);
    names.filter_map(|name| access(&arguments, &name)).collect()
}

fn access(arguments: &Arguments, name: &str) -> Option<Access> {
    let subject = Subject { name: name.to_owned(), string: false };
    let spec = HandlerSpec::Count { by: std::slice::from_ref(&subject) };
    let mut builder = HandlerBuilder::new(arguments, None, &spec).ok()?;
    let slot = builder.slot(&subject).ok()?;
    let is_string = matches!(builder.field_kind(&subject), Ok(FieldKind::String { .. }));
    let string = if is_string {
        Some(builder.length(&subject).ok()?.map_or(StringEnd::Nul, StringEnd::Length))
    } else {
        None
    };
    let frame = builder.finish().ok()?;
    Some(Access {
        name: name.to_owned(),
        size: frame.size,
        reads: frame.filter_reads,
        slot,
        string,
        fault_in: arguments.fault_in,
    })
}
