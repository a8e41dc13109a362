//! Function entries: the catalog's probes in Go binaries that were built without them.
//!
//! The catalog of `gobinary` names a function for many probes of the Go runtime and standard
//! library. It also says which registers and struct fields hold the arguments at the function's
//! entry.

use super::{FileBytes, Probe, ScannedObject, SchemaSource, Source, catalog};
use crate::error::{Warning, WarningKind};
use gobinary::GoBinary;
use gobinary::catalog::{Provider, providers};
use gobinary::function_entry::{EntryPoint, Location};
use stapsdt::argspec::{Arch, Expr, Operand, Register, Value};
use stapsdt::elf::View;
use stapsdt::schema::{self, Kind};
use stapsdt::site::Instruction;
use std::sync::Arc;

/// Adds function entries as probes to Go binaries that have no probe of a provider.
///
/// Only providers of the Go runtime and standard library that a glob names (`go:*`, not `*`) are
/// added. Each call of such a function traps, so a wildcard must not attach to them by accident.
pub fn add_function_entries(found: &mut [ScannedObject], globs: &[String]) {
    let mut wanted: Vec<&'static Provider> =
        globs.iter().filter_map(|glob| named_provider(glob)).collect();
    wanted.dedup_by_key(|p| p.name);
    for one in found {
        let has = |provider: &Provider| one.probes.iter().any(|p| p.provider == provider.name);
        let missing: Vec<&'static Provider> = wanted.iter().copied().filter(|p| !has(p)).collect();
        if !missing.is_empty() {
            let bytes = one.object.bytes();
            one.probes.extend(entries(&bytes, &missing).into_iter().map(Arc::new));
            if let Err(error) = bytes.check(&one.object) {
                one.warnings.push(Warning::new(WarningKind::SkippedObject, format!("{error:#}")));
            }
        }
    }
}

/// Returns the provider of the catalog that a glob names without a wildcard.
fn named_provider(glob: &str) -> Option<&'static Provider> {
    let (provider, _) = glob.split_once(':')?;
    providers().iter().find(|p| p.name == provider)
}

fn entries(bytes: &FileBytes, providers: &[&'static Provider]) -> Vec<Probe> {
    let Ok(view) = View::read(bytes) else { return Vec::new() };
    let (Some(arch), Some(go)) = (view.arch(), GoBinary::read(bytes)) else { return Vec::new() };
    let goid = go.goid_offset();
    let points = go.function_entries(providers);
    points.iter().filter_map(|point| probe(&view, arch, goid, point)).collect()
}

fn probe<'a>(
    view: &View<'a, &'a FileBytes>,
    arch: Arch,
    goid_offset: Option<u32>,
    point: &EntryPoint,
) -> Option<Probe> {
    /// Bytes of code that identify an instruction; no instruction is longer.
    const MAX_INSTRUCTION: u64 = 16;
    view.load_segment(point.address, 1).filter(|s| s.is_executable())?;
    let full_schema = catalog::full_schema(point.provider.name, point.probe.name)?;
    let (mut args, mut enum_labels) = (Vec::new(), Vec::new());
    let mut schema = schema::Probe { args: Vec::new(), ..full_schema.clone() };
    for declared in &full_schema.args {
        let Some(found) = point.args.iter().find(|a| a.name == declared.name) else { continue };
        let mut declared = declared.clone();
        if found.is_enum {
            // A note has a string here; at the function entry there is only its number.
            (declared.kind, declared.size, declared.signed) = (Kind::Int, 1, false);
            enum_labels.extend(found.labels.map(|labels| (declared.name.clone(), labels)));
        }
        let first = print(&found.first_word, declared.size, declared.signed, arch);
        if declared.kind.words() == 2 {
            let Some(next) = &found.second_word else { continue };
            args.extend([first, print(next, 8, false, arch)]);
        } else {
            args.push(first);
        }
        schema.args.push(declared);
    }
    let code = view.bytes_up_to(point.address, MAX_INSTRUCTION)?;
    Some(Probe {
        provider: point.provider.name.to_owned(),
        name: point.probe.name.to_owned(),
        address: point.address,
        offset: view.vaddr_to_offset(point.address)?,
        semaphore: None,
        semaphore_offset: None,
        args: args.join(" "),
        source: Source::Entry,
        schema: Some(schema),
        schema_source: Some(SchemaSource::Catalog),
        machine: view.machine_kind(),
        instruction: Instruction::classify(code, arch),
        generated: false,
        goid_offset,
        enum_labels,
        symbols: Arc::default(),
    })
}

/// Prints a location in the syntax of notes, extended by dereferences: `8@56(16(%rdi))` is the
/// value 56 bytes after the address that the pointer at `16(%rdi)` holds.
fn print(location: &Location, size: u8, signed: bool, arch: Arch) -> String {
    let (operand, rest) = match location {
        Location::Register(number) => (Operand::Register(Register::gpr(*number)), &[][..]),
        Location::Constant(number) => (Operand::Constant(Expr::number(*number)), &[][..]),
        Location::Memory { base, offsets } => {
            let (first, rest) = offsets.split_first().unwrap_or((&0, &[]));
            let (disp, base) = (Expr::number(*first), Some(Register::gpr(*base)));
            (Operand::Memory { disp, base, index: None }, rest)
        }
    };
    let word = Value { size, signed, float: false, operand }.to_spec(arch);
    rest.iter().fold(word, |word, distance| match word.split_once('@') {
        Some((size, pointer)) => format!("{size}@{distance}({pointer})"),
        None => word,
    })
}
