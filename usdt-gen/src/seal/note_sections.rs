//! Content of `.note.stapsdt` and of `.note.usdt`, the schema notes.

use super::error::SealError;
use super::inputs::Inputs;
use stapsdt::elf::View;
use stapsdt::note::{self, Note};
use stapsdt::schema;
use std::collections::HashSet;

/// Foreign notes first, as they were or repaired; then ours.
pub(super) fn notes(view: &View<'_>, inputs: &Inputs, base: u64) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::new();
    for note in &inputs.foreign {
        let base = if inputs.fix { base } else { note.base };
        Note { base, ..note.clone() }.encode(view.format(), &mut out)?;
    }
    for probe in &inputs.probes {
        Note { base, ..probe.note.clone() }.encode(view.format(), &mut out)?;
    }
    Ok(out)
}

/// Schema notes that are kept, then ours.
pub(super) fn schemas(view: &View<'_>, inputs: &Inputs) -> Result<Vec<u8>, SealError> {
    let own: HashSet<(&str, &str)> =
        inputs.probes.iter().map(|p| (p.note.provider.as_str(), p.note.name.as_str())).collect();
    // Of notes that are kept; an unsealed file has its blobs' here.
    let is_sealed = view.section(schema::SECTION).is_some();
    let kept = schema::read(view).into_iter().filter(|_| is_sealed);
    let kept =
        kept.filter(|body| !own.contains(&(body.provider.as_str(), body.probe.name.as_str())));
    let mut bodies: Vec<String> = kept.map(|body| body.to_json()).collect();
    // A probe that several functions begin with has one.
    for probe in inputs.probes.iter().filter(|p| !p.schema.is_empty()) {
        if probe.blob.is_some() || !bodies.contains(&probe.schema) {
            bodies.push(probe.schema.clone());
        }
    }
    let mut out = Vec::new();
    for body in bodies {
        note::encode_raw(
            schema::OWNER,
            schema::NT_SCHEMA,
            body.as_bytes(),
            view.format(),
            &mut out,
        )?;
    }
    Ok(out)
}
