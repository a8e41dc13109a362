//! Function entries: the catalog's probes in Go binaries that were built without them.
//!
//! The catalog of `gobinary` names a function for many probes of the Go runtime and standard
//! library. It also says which registers and struct fields hold the arguments at the function's
//! entry.

use super::enum_labels::EnumLabels;
use super::function_arguments::FunctionOptions;
use super::function_probes::add_function_probes;
use super::{FileBytes, Probe, ScannedObject, SchemaSource, Source, catalog};
use crate::error::{Warning, WarningKind};
use gobinary::GoBinary;
use gobinary::catalog::{Provider, providers};
use gobinary::function_entry::{EntryPoint, Location};
use stapsdt::argspec::{Arch, Value};
use stapsdt::elf::View;
use stapsdt::escape::Escaped;
use stapsdt::schema::{self, Kind};
use stapsdt::site::Instruction;
use std::collections::HashSet;
use std::sync::Arc;

/// Adds function entries as probes to Go binaries that have no probe of a provider.
///
/// Only providers of the Go runtime and standard library that a glob names (`go:*`, not `*`) are
/// added. Each call of such a function traps, so a wildcard must not attach to them by accident.
///
/// A Go binary that cannot have function entries gets a warning that says why.
///
/// Functions that a glob names as `func:SYMBOL` or `func:SYMBOL%return` are added, too, without
/// arguments that options name. A function with injected probes is added at these and in its code;
/// a plan [chooses](crate::plan::Options::choose_sites).
pub fn add_function_entries(found: &mut [ScannedObject], globs: &[String]) {
    add_functions(found, globs, &FunctionOptions::default());
}

/// As [`add_function_entries`], with the options of a command:
/// [`Options::function_options`](crate::plan::Options::function_options) returns them.
pub fn add_functions(found: &mut [ScannedObject], globs: &[String], options: &FunctionOptions) {
    found.iter_mut().for_each(|one| add_function_probes(one, globs, options));
    let mut wanted: Vec<&'static Provider> =
        globs.iter().filter_map(|glob| named_provider(glob)).collect();
    wanted.dedup_by_key(|p| p.name);
    for one in found {
        let has = |provider: &Provider| one.probes.iter().any(|p| p.provider == provider.name);
        let missing: Vec<&'static Provider> = wanted.iter().copied().filter(|p| !has(p)).collect();
        if !missing.is_empty() {
            let bytes = one.object.bytes();
            match entries(&bytes, &missing) {
                Ok(entries) => one.probes.extend(entries.into_iter().map(Arc::new)),
                Err(reason) => {
                    let path = Escaped::new(&one.object.path);
                    let message = format!("skipped the function entries of {path}: {reason}");
                    one.warnings.push(Warning::new(WarningKind::SkippedObject, message));
                }
            }
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

/// What [`add_function_entries`] would find in a Go binary without probes of the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEntries {
    /// This number of different probes.
    Probes(usize),
    /// None, for this reason.
    None(String),
}

/// Returns the probes of the provider `go` that are function entries of a file. `None` if it is not
/// a Go binary, or if it has probes of that provider.
pub fn runtime_entries(object: &ScannedObject) -> Option<RuntimeEntries> {
    let provider = gobinary::catalog::provider("go")?;
    if object.probes.iter().any(|probe| probe.provider == provider.name) {
        return None;
    }
    let bytes = object.object.bytes();
    GoBinary::read(&bytes)?;
    Some(match entries(&bytes, &[provider]) {
        Ok(entries) => {
            let names: HashSet<&str> = entries.iter().map(|probe| probe.name.as_str()).collect();
            RuntimeEntries::Probes(names.len())
        }
        Err(reason) => RuntimeEntries::None(reason),
    })
}

/// Returns the function entries of a file; none if it is not a Go binary.
///
/// # Errors
///
/// Fails with the reason why a Go binary has no function entries.
fn entries(bytes: &FileBytes, providers: &[&'static Provider]) -> Result<Vec<Probe>, String> {
    let Ok(view) = View::read(bytes) else { return Ok(Vec::new()) };
    let Some((arch, go)) = view.arch().zip(GoBinary::read(bytes)) else { return Ok(Vec::new()) };
    if let Some(reason) = go.no_entries() {
        return Err(reason.describe(go.version(), arch));
    }
    let goid = go.goid_offset();
    let points = go.function_entries(providers);
    Ok(points.iter().filter_map(|point| probe(&view, arch, goid, point)).collect())
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
            enum_labels.extend(
                found.labels.map(|labels| (declared.name.clone(), EnumLabels::Catalog(labels))),
            );
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
    let instruction = Instruction::classify(code, arch);
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
        instruction,
        generated: false,
        has_nop10: false,
        risks_red_zone: false,
        stack_check: instruction == Instruction::Branch,
        goid_offset,
        enum_labels,
        interfaces: Vec::new(),
        guards: Vec::new(),
        symbols: Arc::default(),
        injected: None,
    })
}

/// Prints a location in the syntax of notes, extended by dereferences: `8@56(16(%rdi))` is the
/// value 56 bytes after the address that the pointer at `16(%rdi)` holds.
pub(super) fn print(location: &Location, size: u8, signed: bool, arch: Arch) -> String {
    let (operand, rest) = location.operand(arch);
    let word = Value { size, signed, float: false, operand }.to_spec(arch);
    rest.iter().fold(word, |word, distance| match word.split_once('@') {
        Some((size, pointer)) => format!("{size}@{distance}({pointer})"),
        None => word,
    })
}
