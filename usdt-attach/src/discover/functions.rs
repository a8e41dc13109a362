//! The catalogue's probes in Go binaries that have none, by function entries.

use super::{Probe, ScannedObject, Source, catalogue};
use gobinary::GoBinary;
use gobinary::catalogue::{Provider, providers};
use gobinary::function_entry::{EntryPoint, Location};
use stapsdt::argspec::{Arch, Expr, Operand, Register, Value};
use stapsdt::elf::View;
use stapsdt::schema::{self, Kind};
use stapsdt::site::Instruction;
use std::sync::Arc;

/// Adds function entries for the providers of the catalogue that globs name outright, to binaries that have no probe of
/// that provider. They cost what they cost: nobody gets them by a wildcard.
pub fn add_entries(found: &mut [ScannedObject], globs: &[String]) {
    let named = |glob: &String| {
        let (provider, _) = glob.split_once(':')?;
        providers().iter().find(|p| p.name == provider)
    };
    let mut wanted: Vec<&'static Provider> = globs.iter().filter_map(named).collect();
    wanted.dedup_by_key(|p| p.name);
    for one in found {
        let has = |provider: &Provider| one.probes.iter().any(|p| p.provider == provider.name);
        let missing: Vec<&'static Provider> = wanted.iter().copied().filter(|p| !has(p)).collect();
        if !missing.is_empty() {
            one.probes.extend(entries(one.object.bytes(), &missing).into_iter().map(Arc::new));
        }
    }
}

fn entries(data: &[u8], providers: &[&'static Provider]) -> Vec<Probe> {
    let Ok(view) = View::parse(data) else { return Vec::new() };
    let (Some(arch), Some(go)) = (view.arch(), GoBinary::parse(data)) else { return Vec::new() };
    let goid = go.goid_offset();
    let points = go.function_entries(data, providers);
    points.iter().filter_map(|point| probe(&view, arch, goid, point)).collect()
}

fn probe(
    view: &View<'_>,
    arch: Arch,
    goid_offset: Option<u32>,
    point: &EntryPoint,
) -> Option<Probe> {
    /// The longest instruction that is told apart.
    const LONGEST: u64 = 16;
    view.load_segment(point.address, 1).filter(|s| s.is_executable())?;
    let whole = catalogue::whole(point.provider.name, point.probe.name)?;
    let (mut args, mut names) = (Vec::new(), Vec::new());
    let mut schema = schema::Probe { args: Vec::new(), ..whole.clone() };
    for declared in &whole.args {
        let Some(found) = point.args.iter().find(|a| a.name == declared.name) else { continue };
        let mut declared = declared.clone();
        if found.is_enum {
            // A note would have the text; here is the number of one.
            (declared.kind, declared.size, declared.signed) = (Kind::Int, 1, false);
            names.extend(found.labels.map(|labels| (declared.name.clone(), labels)));
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
    let code = view.bytes_up_to(point.address, LONGEST)?;
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
        arch,
        instruction: Instruction::classify(code, arch),
        generated: false,
        goid_offset,
        names,
        symbols: Arc::default(),
    })
}

/// A word as a note would have it, pointers on the way in front: `8@56(16(%rdi))`.
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
