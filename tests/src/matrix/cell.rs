//! Cells of the matrix.

use super::build::{Kind, Seal};
use super::consumer::Consumer;
use std::collections::BTreeMap;

/// A Go release, a kind of build, a way of sealing, a tracer.
pub(super) type Cell = (String, Kind, Seal, Consumer);

/// `Ok`, or why the cell does not work.
pub(super) type Verdict = Result<(), String>;

/// Verdicts by the name of the cell.
pub(super) type Verdicts = BTreeMap<String, Verdict>;

/// The name of a cell: `1.26.8/pie/toolexec/bpftrace`.
pub(super) fn name((release, kind, seal, consumer): &Cell) -> String {
    format!("{release}/{}/{}/{}", kind.name(), seal.name(), consumer.name())
}

/// Why a cell cannot be filled, for reasons outside this project.
pub(super) fn untestable((_, kind, seal, consumer): &Cell) -> Option<&'static str> {
    let ours = matches!(consumer, Consumer::Embedded | Consumer::Bcc);
    match (kind, seal) {
        _ if *seal == Seal::None && !ours => {
            Some("notes are what these tracers read, and sealing makes them")
        }
        (Kind::StrippedAfter, Seal::None) => {
            Some("nothing was sealed that could be stripped afterwards")
        }
        _ => None,
    }
}
