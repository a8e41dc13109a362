//! Known providers: names and types of the arguments of probes in well-known programs.
//!
//! A note says where a probe's arguments are, but neither their names nor which of them are strings.
//! The `.d` files of this folder say it for the providers that many machines have. `cargo xtask
//! golden` generates `tables.rs` from them.
//!
//! A program of the same name can have another version, or be someone else's. So a schema applies
//! only to notes of its shape: as many operands, pointers of 8 bytes where it has strings and
//! pointers, and floating-point operands only where it has floating-point numbers. A binary's own
//! schema and a schema file come before it.

#[rustfmt::skip]
mod tables;
#[cfg(test)]
mod tests;

use super::select::normalized_name;
use stapsdt::argspec::{self, Arch, Operand};
use stapsdt::schema::{self, Kind};

/// A provider and its probes, sorted by name.
struct KnownProvider {
    name: &'static str,
    probes: &'static [KnownProbe],
}

/// A version of a probe. The versions of a probe follow each other, the newest first.
struct KnownProbe {
    name: &'static str,
    /// Names, and the indexes of the types in [`tables::TYPES`].
    args: &'static [(&'static str, usize)],
}

/// A type of arguments.
struct KnownType {
    name: &'static str,
    kind: Kind,
    size: u8,
    signed: bool,
}

impl KnownProbe {
    fn types(&self) -> impl Iterator<Item = &'static KnownType> {
        self.args.iter().filter_map(|(_, index)| tables::TYPES.get(*index))
    }

    fn schema(&self) -> schema::Probe {
        let args = self.args.iter().zip(self.types());
        let args = args
            .map(|((name, _), ty)| schema::Arg::new(*name, ty.name, ty.kind, ty.size, ty.signed));
        schema::Probe {
            name: self.name.to_owned(),
            args: args.collect(),
            doc: String::new(),
            stability: None,
            symbol: None,
        }
    }
}

/// Returns the schema of a probe with these names and this argument specification; `None` if the
/// probe is not known, or if its specification has another shape.
pub(super) fn schema_for(
    provider: &str,
    probe: &str,
    args: &str,
    arch: Arch,
) -> Option<schema::Probe> {
    let at = tables::PROVIDERS.binary_search_by_key(&provider, |known| known.name).ok()?;
    let probes = tables::PROVIDERS.get(at)?.probes;
    let name = normalized_name(probe);
    let first = probes.partition_point(|known| *known.name < *name);
    let versions = probes.get(first..)?.iter().take_while(|known| known.name == name);
    let mut versions = versions.peekable();
    versions.peek()?;
    let operands = argspec::parse(args, arch);
    let mut best: Option<(usize, &KnownProbe)> = None;
    for version in versions {
        let Some(score) = fit(version, &operands) else { continue };
        // Of equal ones, the newest.
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, version));
        }
    }
    best.map(|(_, version)| version.schema())
}

/// Returns the number of operands that have the declared size; `None` if the operands cannot be
/// those of the probe.
///
/// A note has the size of the C expression, not of the parameter: a number can have any size, and
/// constants most often have 4 bytes.
fn fit(probe: &KnownProbe, operands: &[argspec::Arg]) -> Option<usize> {
    let mut operands = operands.iter();
    let mut score = 0;
    for ty in probe.types() {
        let operand = operands.next()?;
        if ty.kind.words() == 2 {
            accepts(Kind::Int, operands.next()?).then_some(())?;
        }
        accepts(ty.kind, operand).then_some(())?;
        score += usize::from(operand.value.as_ref().is_ok_and(|value| value.size == ty.size));
    }
    operands.next().is_none().then_some(score)
}

/// Returns true if the first operand of an argument of this kind can be this one. An operand that
/// cannot be parsed can be anything.
fn accepts(kind: Kind, operand: &argspec::Arg) -> bool {
    /// The size of a pointer in bytes, on both architectures.
    const POINTER: u8 = 8;
    let Ok(value) = &operand.value else { return true };
    match kind {
        Kind::Int | Kind::Bool => !value.float,
        Kind::Float => true,
        _ => {
            // NULL can be a plain 0, and the address of a literal is a symbol.
            let is_null_or_symbol = matches!(
                &value.operand,
                Operand::Constant(number) if number.symbol.is_some() || number.offset == 0
            );
            is_null_or_symbol || value.size == POINTER && !value.float
        }
    }
}
