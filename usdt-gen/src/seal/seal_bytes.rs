//! Sealing of a binary in memory: what is in it, where the new sections go, and the patches that put them there.

use super::error::SealError;
use super::inputs::{self, Options};
use super::patch_set::PatchSet;
use super::{placement, section_table};
use crate::verify::{self, Verdict};
use stapsdt::elf::View;
use stapsdt::note::Note;
use std::collections::HashSet;

/// What sealing did.
#[derive(Debug)]
pub struct Sealed {
    /// What to change; `None` where the file is as it should be.
    pub patches: Option<PatchSet>,
    /// The probes of the file's blobs and, where they were asked for, of function entries, as their notes describe
    /// them.
    pub probes: Vec<Note>,
    /// Notes of others, kept or repaired.
    pub foreign: Vec<Note>,
    /// Offset of the goroutine id in `runtime.g`, where it was appended.
    pub goid_offset: Option<u32>,
}

/// Plans the sealing of a linked binary.
pub fn seal(data: &[u8], options: Options) -> Result<Sealed, SealError> {
    let view = View::parse(data)?;
    let Some(found) = inputs::collect(&view, options)? else {
        return Ok(Sealed {
            patches: None,
            probes: Vec::new(),
            foreign: Vec::new(),
            goid_offset: None,
        });
    };
    let plan = placement::plan(&view, &found)?;
    let patches = section_table::write(&view, &found, &plan)?;
    Ok(Sealed {
        patches,
        probes: found.probes.into_iter().map(|p| p.note).collect(),
        foreign: found.foreign,
        goid_offset: found.goid_offset,
    })
}

/// Whether every consumer finds the probes of `sealed` in the sealed bytes. What it cannot do with them for
/// reasons that are not the notes', as a missing build id, does not count.
pub fn check(sealed: &Sealed, bytes: &[u8]) -> Result<(), SealError> {
    let view = View::parse(bytes)?;
    // A search for each of many thousands would be what sealing spends its time on.
    let own: HashSet<(u64, &str)> = sealed.probes.iter().map(|n| (n.pc, n.name.as_str())).collect();
    for row in verify::verify(&view) {
        let own = own.contains(&(row.address, row.probe.as_str()));
        if let (true, Verdict::Rejected(trouble)) = (own, row.verdict) {
            let probe = format!("{}:{}", row.provider, row.probe);
            return Err(SealError::Rejected {
                consumer: row.consumer,
                probe,
                reason: problem.reason,
            });
        }
    }
    Ok(())
}
