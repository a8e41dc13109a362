//! Notes for function entries: probes of the catalogue in Go binaries that were built without them.

use super::probe::Probe;
use crate::dlang::catalogue;
use gobinary::GoBinary;
use gobinary::catalogue::providers;
use gobinary::function_entry::{EntryArg, EntryPoint, Location};
use stapsdt::argspec::{Arch, Expr, Operand, Register, Value};
use stapsdt::elf::View;
use stapsdt::note::Note;
use stapsdt::schema::{self, NoteBody};

/// For the providers of the catalogue that the binary has no probe of. Arguments have their places: what cannot be seen
/// at an entry, or by what notes can say, is 0 or empty.
pub(super) fn probes(
    view: &View<'_>,
    arch: Arch,
    has: impl Fn(&str) -> bool,
    goid: Option<u32>,
) -> Vec<Probe> {
    let Some(go) = GoBinary::parse(view.data()) else { return Vec::new() };
    let missing: Vec<_> = providers().iter().filter(|p| !has(p.name)).collect();
    let points = go.function_entries(view.data(), &missing);
    let definitions: Vec<_> = missing.iter().filter_map(|p| catalogue::schema(p.name)).collect();
    let declared = |point: &EntryPoint| {
        let provider = definitions.iter().find(|p| p.name == point.provider.name)?;
        provider.probes.iter().find(|p| p.name == point.probe.name)
    };
    let own = |point: &EntryPoint| {
        view.load_segment(point.address, 1).is_some_and(stapsdt::elf::Segment::is_executable)
    };
    points
        .iter()
        .filter(|p| own(p))
        .filter_map(|point| Some(probe(point, declared(point)?, arch, goid)))
        .collect()
}

fn probe(point: &EntryPoint, declared: &schema::Probe, arch: Arch, goid: Option<u32>) -> Probe {
    let mut args = Vec::new();
    for argument in &declared.args {
        let found = point.args.iter().find(|a| a.name == argument.name);
        args.extend(words(found, argument, arch));
    }
    args.extend(goid.map(|offset| goroutine_id(offset, arch)));
    let note = Note {
        pc: point.address,
        base: 0,
        semaphore: 0,
        provider: point.provider.name.to_owned(),
        name: point.probe.name.to_owned(),
        args: args.join(" "),
    };
    let probe = declared.clone();
    let body = NoteBody { version: schema::VERSION, provider: note.provider.clone(), probe };
    Probe { note, schema: body.to_json(), blob: None, goid_offset: None }
}

fn words(found: Option<&EntryArg>, argument: &schema::Arg, arch: Arch) -> Vec<String> {
    let print = |operand, size, signed| Value { size, signed, float: false, operand }.to_spec(arch);
    let operand = |location: &Location| match location {
        Location::Register(number) => Some(Operand::Register(Register::gpr(*number))),
        Location::Constant(number) => Some(Operand::Constant(Expr::number(*number))),
        // Notes follow no pointers.
        Location::Memory { base, offsets } => match offsets[..] {
            [offset] => Some(memory(*base, offset)),
            _ => None,
        },
    };
    let nothing = || Operand::Constant(Expr::number(0));
    let two = argument.kind.words() == 2;
    let seen = found.filter(|found| !found.is_enum).and_then(|found| {
        let next = if two { Some(operand(found.second_word.as_ref()?)?) } else { None };
        Some((operand(&found.first_word)?, next))
    });
    let (first, next) = seen.unwrap_or_else(|| (nothing(), two.then(nothing)));
    let next = next.map(|next| print(next, 8, false));
    [print(first, argument.size, argument.signed)].into_iter().chain(next).collect()
}

fn memory(base: u8, distance: i64) -> Operand {
    Operand::Memory { disp: Expr::number(distance), base: Some(Register::gpr(base)), index: None }
}

/// Of the running goroutine.
fn goroutine_id(offset: u32, arch: Arch) -> String {
    let g = match arch {
        Arch::X86_64 => gobinary::G_REGISTER_AMD64,
        Arch::Aarch64 => gobinary::G_REGISTER_ARM64,
    };
    Value { size: 8, signed: false, float: false, operand: memory(g, offset.into()) }.to_spec(arch)
}
