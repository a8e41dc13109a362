//! Sealing of a binary in memory.

use super::error::SealError;
use super::inputs::{self, Options};
use super::patch_set::PatchSet;
use super::{placement, section_table};
use crate::verify::{self, Verdict};
use stapsdt::elf::View;
use stapsdt::note::Note;
use std::collections::HashSet;

/// The changes that seal a binary, and the probes in the result.
#[derive(Debug)]
pub struct Sealed {
    /// The changes to the file; `None` if the file is already sealed or has no probes.
    pub patches: Option<PatchSet>,
    /// The notes of the file's blobs and, with [`Options::function_entries`] and
    /// [`Options::functions`], of functions.
    pub probes: Vec<Note>,
    /// The notes that usdt-gen did not generate: kept or, with [`Options::fix`], repaired.
    pub third_party: Vec<Note>,
    /// The offset in bytes of `goid` in `runtime.g`; `None` if no probe has the goroutine id.
    pub goid_offset: Option<u32>,
    /// Messages about functions of [`Options::functions`] that have no note.
    pub warnings: Vec<String>,
}

/// Computes the changes that seal a linked binary.
///
/// # Errors
///
/// Returns [`SealError`] if the file is not a linked ELF file for amd64 or arm64, if it is damaged,
/// if a blob contradicts the file, or if the file has no room for the new sections.
pub fn seal(data: &[u8], options: &Options) -> Result<Sealed, SealError> {
    let view = View::parse(data)?;
    let Some(inputs) = inputs::collect(&view, options)? else {
        return Ok(Sealed {
            patches: None,
            probes: Vec::new(),
            third_party: Vec::new(),
            goid_offset: None,
            warnings: Vec::new(),
        });
    };
    let plan = placement::plan(&view, &inputs)?;
    let patches = section_table::write(&view, &inputs, &plan)?;
    Ok(Sealed {
        patches,
        probes: inputs.probes.into_iter().map(|p| p.note).collect(),
        third_party: inputs.third_party,
        goid_offset: inputs.goid_offset,
        warnings: inputs.warnings,
    })
}

/// Checks that every tracer finds the probes of `sealed` in the sealed bytes. Verdicts that are
/// only partial, such as those for a missing build ID, are not errors.
///
/// # Errors
///
/// Returns [`SealError::Rejected`] for the first probe that a tracer rejects.
pub(super) fn check(sealed: &Sealed, bytes: &[u8]) -> Result<(), SealError> {
    let view = View::parse(bytes)?;
    // With a linear search, thousands of probes would take longer to check than to seal.
    let own: HashSet<(u64, &str)> = sealed.probes.iter().map(|n| (n.pc, n.name.as_str())).collect();
    for row in verify::verify(&view) {
        let is_own = own.contains(&(row.address, row.probe.as_str()));
        if let (true, Verdict::Rejected(problem)) = (is_own, row.verdict) {
            return Err(SealError::Rejected {
                consumer: row.consumer,
                probe: format!("{}:{}", row.provider, row.probe),
                reason: problem.reason,
            });
        }
    }
    Ok(())
}
