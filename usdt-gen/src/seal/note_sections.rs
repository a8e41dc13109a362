//! Contents of the note sections: `.note.stapsdt`, and `.note.usdt` with the schema notes.

use super::error::SealError;
use super::inputs::Inputs;
use stapsdt::elf::View;
use stapsdt::note::Note;
use stapsdt::schema::{self, NoteBody};
use std::collections::HashSet;

/// Encodes the notes: third-party notes, kept or repaired, before ours.
pub(super) fn encode_notes(
    view: &View<'_>,
    inputs: &Inputs,
    base: u64,
) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::new();
    for note in &inputs.third_party {
        let base = if inputs.fix { base } else { note.base };
        Note { base, ..note.clone() }.encode(view.format(), &mut out)?;
    }
    for probe in &inputs.probes {
        Note { base, ..probe.note.clone() }.encode(view.format(), &mut out)?;
    }
    Ok(out)
}

/// Encodes the schema notes: those that the file already has, before ours.
pub(super) fn encode_schemas(view: &View<'_>, inputs: &Inputs) -> Result<Vec<u8>, SealError> {
    let own: HashSet<(&str, &str)> =
        inputs.probes.iter().map(|p| (p.note.provider.as_str(), p.note.name.as_str())).collect();
    // `schema::read` returns the schemas of blobs for an unsealed file, and those are ours.
    let is_sealed = view.section(schema::SECTION).is_some();
    let kept = schema::read(view).into_iter().filter(|_| is_sealed);
    let kept =
        kept.filter(|body| !own.contains(&(body.provider.as_str(), body.probe.name.as_str())));
    let mut bodies: Vec<String> = kept.map(|body| body.to_json()).collect();
    // A probe of several function entries gets one schema note.
    for probe in inputs.probes.iter().filter(|p| !p.schema.is_empty()) {
        if probe.blob.is_some() || !bodies.contains(&probe.schema) {
            bodies.push(probe.schema.clone());
        }
    }
    let mut out = Vec::new();
    for json in bodies {
        NoteBody::encode_note(&json, view.format(), &mut out)?;
    }
    Ok(out)
}
