//! Cells of the matrix.

use super::build::{Kind, Seal};
use super::consumer::Consumer;
use std::collections::BTreeMap;

/// A combination of a Go release, a build mode, a way of sealing and a tracer.
pub(super) type Cell = (String, Kind, Seal, Consumer);

/// `Ok`, or the reason why the tracer did not read the expected hits.
pub(super) type Verdict = Result<(), String>;

/// Verdicts by cell name.
pub(super) type Verdicts = BTreeMap<String, Verdict>;

/// Returns the name of a cell, for example `1.26.8/pie/toolexec/bpftrace`.
pub(super) fn name((release, kind, seal, consumer): &Cell) -> String {
    format!("{release}/{}/{}/{}", kind.name(), seal.name(), consumer.name())
}

/// Returns why a cell cannot be tested, for reasons outside this project.
pub(super) fn untestable((_, kind, seal, consumer): &Cell) -> Option<&'static str> {
    let ours = matches!(consumer, Consumer::Embedded | Consumer::Bcc);
    match (kind, seal) {
        _ if *seal == Seal::None && !ours => {
            Some("these tracers read notes, which only sealing writes")
        }
        (Kind::StrippedAfter, Seal::None) => {
            Some("an unsealed binary has nothing to strip after sealing")
        }
        _ => None,
    }
}
