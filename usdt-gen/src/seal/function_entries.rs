//! Notes at function entries, for probes of the catalog that a Go binary was built without.

use super::probe::Probe;
use crate::dlang::catalog;
use gobinary::GoBinary;
use gobinary::catalog::providers;
use gobinary::function_entry::{EntryArg, EntryPoint, Location, memory_operand};
use stapsdt::argspec::{Arch, Expr, Operand, Value};
use stapsdt::elf::{Segment, View};
use stapsdt::note::Note;
use stapsdt::schema::{self, NoteBody};

/// Returns probes at function entries, for the catalog's providers that the binary has no probe
/// of.
///
/// Every argument keeps its position. An argument that a note cannot express, or that is not
/// available at the entry, is 0 or empty.
pub(super) fn probes(
    view: &View<'_>,
    go: &GoBinary<'_>,
    arch: Arch,
    has_provider: impl Fn(&str) -> bool,
    goid_offset: Option<u32>,
) -> Vec<Probe> {
    let missing: Vec<_> = providers().iter().filter(|p| !has_provider(p.name)).collect();
    let definitions: Vec<_> = missing.iter().filter_map(|p| catalog::schema(p.name)).collect();
    go.function_entries(&missing)
        .iter()
        .filter(|point| view.load_segment(point.address, 1).is_some_and(Segment::is_executable))
        .filter_map(|point| {
            Some(probe(point, find_schema(&definitions, point)?, arch, goid_offset))
        })
        .collect()
}

fn find_schema<'a>(
    definitions: &'a [schema::Provider],
    point: &EntryPoint,
) -> Option<&'a schema::Probe> {
    let provider = definitions.iter().find(|p| p.name == point.provider.name)?;
    provider.probes.iter().find(|p| p.name == point.probe.name)
}

fn probe(
    point: &EntryPoint,
    schema: &schema::Probe,
    arch: Arch,
    goid_offset: Option<u32>,
) -> Probe {
    let mut specs = Vec::new();
    for argument in &schema.args {
        let found = point.args.iter().find(|a| a.name == argument.name);
        specs.extend(argument_specs(found, argument, arch));
    }
    specs.extend(goid_offset.map(|offset| goroutine_id_spec(offset, arch)));
    let note = Note {
        pc: point.address,
        base: 0,
        semaphore: 0,
        provider: point.provider.name.to_owned(),
        name: point.probe.name.to_owned(),
        args: specs.join(" "),
    };
    let body = NoteBody {
        version: schema::VERSION,
        provider: note.provider.clone(),
        probe: schema.clone(),
    };
    Probe { note, schema: body.to_json(), blob: None, goid_offset: None }
}

/// Returns the specifications of an argument's words: two for strings and the like, else one.
fn argument_specs(found: Option<&EntryArg>, argument: &schema::Arg, arch: Arch) -> Vec<String> {
    let has_second_word = argument.kind.words() == 2;
    let (first, second) = found
        .and_then(|found| operands(found, has_second_word, arch))
        .unwrap_or_else(|| (zero(), has_second_word.then(zero)));
    let first =
        Value { size: argument.size, signed: argument.signed, float: false, operand: first };
    let second = second.map(|operand| Value { size: 8, signed: false, float: false, operand });
    [first].into_iter().chain(second).map(|value| value.to_spec(arch)).collect()
}

/// Returns the operands of an argument's first and second word; `None` if a note cannot express
/// them.
fn operands(
    found: &EntryArg,
    has_second_word: bool,
    arch: Arch,
) -> Option<(Operand, Option<Operand>)> {
    if found.is_enum {
        return None;
    }
    let second =
        if has_second_word { Some(operand(found.second_word.as_ref()?, arch)?) } else { None };
    Some((operand(&found.first_word, arch)?, second))
}

/// Returns the operand of a word; `None` for a chain of pointers, which notes cannot express.
pub(super) fn operand(location: &Location, arch: Arch) -> Option<Operand> {
    let (operand, rest) = location.operand(arch);
    rest.is_empty().then_some(operand)
}

fn zero() -> Operand {
    Operand::Constant(Expr::number(0))
}

/// Returns the specification of the running goroutine's id.
pub(super) fn goroutine_id_spec(offset: u32, arch: Arch) -> String {
    let g = match arch {
        Arch::X86_64 => gobinary::G_REGISTER_AMD64,
        Arch::Aarch64 => gobinary::G_REGISTER_ARM64,
    };
    Value { size: 8, signed: false, float: false, operand: memory_operand(g, offset.into(), arch) }
        .to_spec(arch)
}
