//! Cells of the matrix.

use super::build::{Kind, Seal};
use super::consumer::Consumer;
use std::collections::BTreeMap;

/// A combination of a Go release, a build mode, a way of sealing and a tracer.
pub(super) struct Cell {
    pub(super) release: &'static str,
    pub(super) kind: Kind,
    pub(super) seal: Seal,
    pub(super) consumer: Consumer,
}

/// `Ok`, or the reason why the tracer did not read the expected hits.
pub(super) type Verdict = Result<(), String>;

/// Verdicts by cell name.
pub(super) type Verdicts = BTreeMap<String, Verdict>;

impl Cell {
    /// Returns the name of the cell, for example `1.26.8/pie/toolexec/bpftrace`.
    pub(super) fn name(&self) -> String {
        let Cell { release, kind, seal, consumer } = self;
        format!("{release}/{}/{}/{}", kind.name(), seal.name(), consumer.name())
    }

    /// Returns why the cell cannot be tested, for reasons outside this project.
    pub(super) fn untestable(&self) -> Option<&'static str> {
        let reads_blobs = matches!(self.consumer, Consumer::Embedded | Consumer::Bcc);
        match (self.kind, self.seal) {
            (_, Seal::None) if !reads_blobs => {
                Some("these tracers read notes, which only sealing writes")
            }
            (Kind::StrippedAfter, Seal::None) => {
                Some("an unsealed binary has nothing to strip after sealing")
            }
            _ => None,
        }
    }
}
