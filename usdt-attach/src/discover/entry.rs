//! The catalogue's probes in Go binaries that have none: function entries, found through the function table, which
//! stripped files have, too.

use super::{Found, Probe, Source, catalogue, running_goroutine};
use gobinary::GoBinary;
use gobinary::catalogue::{Entry, Field, Place, Provider, providers};
use stapsdt::argspec::{Arch, Expr, Operand, Register, Value};
use stapsdt::elf::View;
use stapsdt::schema::{self, Kind};
use stapsdt::site;
use std::collections::HashMap;
use std::sync::Arc;

/// Integer registers of Go's convention (`src/cmd/compile/abi-internal.md`) by the hardware's numbers.
const AMD64: [u8; 9] = [0, 3, 1, 7, 6, 8, 9, 10, 11];

/// Adds function entries for the providers of the catalogue that globs name outright, to binaries that have no probe of
/// that provider. They cost what they cost: nobody gets them by a wildcard.
pub fn add_entries(found: &mut [Found], globs: &[String]) {
    let named = |glob: &String| {
        let (provider, _) = glob.split_once(':')?;
        providers().iter().find(|p| p.name == provider)
    };
    let mut wanted: Vec<&Provider> = globs.iter().filter_map(named).collect();
    wanted.dedup_by_key(|p| p.name.as_str());
    for one in found {
        let has = |provider: &Provider| one.probes.iter().any(|p| p.provider == provider.name);
        let missing: Vec<&Provider> = wanted.iter().copied().filter(|p| !has(p)).collect();
        if !missing.is_empty() {
            one.probes.extend(entries(one.object.bytes(), &missing).into_iter().map(Arc::new));
        }
    }
}

fn entries(data: &[u8], providers: &[&Provider]) -> Vec<Probe> {
    let Ok(view) = View::parse(data) else { return Vec::new() };
    let (Some(arch), Some(go)) = (view.arch(), GoBinary::parse(data)) else { return Vec::new() };
    let Some(layout) = go.functions() else { return Vec::new() };
    let Some(functions) = layout.functions(data) else { return Vec::new() };
    let all = || providers.iter().flat_map(|p| &p.probes).flat_map(|probe| &probe.entry);
    let mut places: HashMap<&str, u64> = all().map(|entry| (entry.function.as_str(), 0)).collect();
    for function in (0..functions.len()).filter_map(|index| functions.get(index)) {
        if let Some(place) = places.get_mut(function.name) {
            *place = function.entry;
        }
    }
    let maker = Maker { view: &view, arch, goid: go.goid_offset_quick(), go: &go };
    let mut out = Vec::new();
    for provider in providers {
        for probe in &provider.probes {
            for entry in &probe.entry {
                let address = places.get(entry.function.as_str()).copied().filter(|address| *address != 0);
                out.extend(address.and_then(|address| maker.probe(provider, &probe.name, entry, address)));
            }
        }
    }
    out
}

struct Maker<'a> {
    view: &'a View<'a>,
    arch: Arch,
    goid: Option<u32>,
    go: &'a GoBinary<'a>,
}

impl Maker<'_> {
    fn probe(&self, provider: &Provider, name: &str, entry: &Entry, address: u64) -> Option<Probe> {
        /// More than any beginning of a function that is recognised.
        const LONGEST: u64 = 32;
        let code = self.view.at_most(address, LONGEST)?;
        let distance = behind_stack_check(code, self.arch);
        let address = address.checked_add(distance as u64)?;
        self.view.load_segment(address, 1).filter(|s| s.is_executable())?;
        let whole = catalogue::whole(&provider.name, name)?;
        let (mut args, mut texts_of) = (Vec::new(), Vec::new());
        let mut schema = schema::Probe { args: Vec::new(), ..whole.clone() };
        for argument in &whole.args {
            let Some(place) = entry.args.get(&argument.name) else { continue };
            let Some(words) = self.words(place, argument) else { continue };
            args.extend(words);
            let mut declared = argument.clone();
            if let Place::Named(_, names) = place {
                // A note would have the text; here is the number of one.
                (declared.kind, declared.size, declared.signed) = (Kind::Int, 1, false);
                let texts = self.go.names(*names);
                texts_of.extend(texts.map(|texts| (argument.name.clone(), texts)));
            }
            schema.args.push(declared);
        }
        Some(Probe {
            provider: provider.name.clone(),
            name: name.to_owned(),
            address,
            offset: self.view.vaddr_to_offset(address)?,
            semaphore: None,
            semaphore_offset: None,
            args: args.join(" "),
            source: Source::Entry,
            schema: Some(schema),
            arch: self.arch,
            instruction: site::instruction(code.get(distance..).unwrap_or_default(), self.arch),
            generated: false,
            goid_offset: self.goid,
            names: texts_of,
            symbols: Arc::default(),
        })
    }

    /// The words of an argument, as a note would have them, pointers on the way in front.
    fn words(&self, place: &Place, argument: &schema::Arg) -> Option<Vec<String>> {
        let value = |size, signed, operand| Value { size, signed, float: false, operand }.print(self.arch);
        let memory = |register: u8, disp: i64| Operand::Memory {
            disp: Expr::number(disp),
            base: Some(Register::gpr(register)),
            index: None,
        };
        let two = argument.kind.words() == 2;
        let first = |operand| value(argument.size, argument.signed, operand);
        Some(match place {
            &Place::Register(number) => {
                let mut out = vec![first(Operand::Register(Register::gpr(self.register(number)?)))];
                if two {
                    let next = Register::gpr(self.register(number + 1)?);
                    out.push(value(8, false, Operand::Register(next)));
                }
                out
            }
            Place::Fields(number, fields) => {
                let base = self.register(*number)?;
                let distance = |nested: &Vec<Field>| {
                    nested.iter().map(|field| self.go.field_offset(field).map(i64::from)).sum::<Option<i64>>()
                };
                let mut distances = fields.iter().map(distance).collect::<Option<Vec<i64>>>()?;
                let mut out = vec![pointed(first(memory(base, *distances.first()?)), distances.get(1..)?)];
                if two {
                    *distances.last_mut()? += 8;
                    let next = value(8, false, memory(base, *distances.first()?));
                    out.push(pointed(next, distances.get(1..)?));
                }
                out
            }
            &Place::Named(number, _) => {
                vec![value(1, false, Operand::Register(Register::gpr(self.register(number)?)))]
            }
            Place::Goid(of) => {
                let base =
                    (*of).map_or(Some(running_goroutine(self.arch)), |number| self.register(number))?;
                vec![value(8, false, memory(base, self.goid?.into()))]
            }
            &Place::Constant(number) => vec![first(Operand::Constant(Expr::number(number)))],
        })
    }

    fn register(&self, number: u8) -> Option<u8> {
        match self.arch {
            Arch::X86_64 => AMD64.get(usize::from(number)).copied(),
            Arch::Aarch64 => Some(number),
        }
    }
}

/// An operand that is a pointer, and the distances from what each pointer points to: `8@16(%rdi)` and 56 are
/// `8@56(16(%rdi))`.
fn pointed(word: String, distances: &[i64]) -> String {
    distances.iter().fold(word, |word, distance| match word.split_once('@') {
        Some((size, pointer)) => format!("{size}@{distance}({pointer})"),
        None => word,
    })
}

/// Bytes of the check whether the stack suffices. Behind it a function begins once, however often its stack grows, and
/// its arguments are still where they were; and what follows is a push, which the kernel does itself.
fn behind_stack_check(code: &[u8], arch: Arch) -> usize {
    if arch != Arch::X86_64 {
        return 0;
    }
    // lea -N(%rsp),%r12 for frames that are not small.
    let frame = match code {
        [0x4c, 0x8d, 0x64, 0x24, ..] => 5,
        [0x4c, 0x8d, 0xa4, 0x24, ..] => 8,
        _ => 0,
    };
    // cmp 0x10(%r14),%rsp or %r12; 0x18 in functions of the system stack
    let compare = match code.get(frame..) {
        Some([0x49, 0x3b, 0x66, 0x10 | 0x18, ..]) if frame == 0 => 4,
        Some([0x4d, 0x3b, 0x66, 0x10 | 0x18, ..]) if frame > 0 => 4,
        _ => return 0,
    };
    // jbe
    let jump = match code.get(frame + compare..) {
        Some([0x76, ..]) => 2,
        Some([0x0f, 0x86, ..]) => 6,
        _ => return 0,
    };
    let behind = frame + compare + jump;
    let is_push = code.get(behind) == Some(&0x55);
    if is_push { behind } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_checks_of_all_sizes() {
        let behind = |code: &[u8]| behind_stack_check(code, Arch::X86_64);
        assert_eq!(behind(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]), 6);
        assert_eq!(behind(&[0x49, 0x3b, 0x66, 0x18, 0x0f, 0x86, 1, 2, 3, 4, 0x55]), 10);
        assert_eq!(behind(&[0x4c, 0x8d, 0x64, 0x24, 0xe8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]), 11);
        let large =
            [0x4c, 0x8d, 0xa4, 0x24, 1, 2, 3, 4, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 1, 2, 3, 4, 0x55];
        assert_eq!(behind(&large), 18);
        for end in 0..large.len() {
            assert_eq!(behind(&large[..end]), 0);
        }
        assert_eq!(behind(&[0x55, 0x48, 0x89, 0xe5]), 0);
        assert_eq!(behind(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x48]), 0, "no push");
    }

    proptest::proptest! {
        #[test]
        fn any_code_is_looked_at(code: Vec<u8>) {
            let behind = behind_stack_check(&code, Arch::X86_64);
            proptest::prop_assert!(behind == 0 || code[behind] == 0x55);
        }
    }
}
