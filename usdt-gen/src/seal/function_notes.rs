//! Notes at the entries and returns of chosen Go functions, by which other tracers attach to them.

use super::error::SealError;
use super::function_entries::{goroutine_id_spec, operand};
use super::probe::Probe;
use gobinary::GoBinary;
use gobinary::dwarf::DebugInfo;
use gobinary::function_search::{FoundFunction, FunctionSites, argument_register};
use gobinary::refused::Refused;
use gobinary::signature::{Format, Signature, Value, Word};
use gobinary::symbol_pattern::{FUNCTIONS, FunctionPattern, RETURN};
use gobinary::value_path::Point;
use stapsdt::argspec::{self, Arch, Operand, Register};
use stapsdt::elf::{Segment, View};
use stapsdt::note::Note;
use stapsdt::schema::{self, Kind, NoteBody};
use std::collections::{HashMap, HashSet};

/// The number of functions that the selectors may match.
const MAX_FUNCTIONS: usize = 4096;
/// The number of arguments that tracers read.
const MAX_WORDS: usize = 12;

/// The notes, and messages about functions that have none.
#[derive(Default)]
pub(super) struct FunctionNotes {
    pub(super) probes: Vec<Probe>,
    pub(super) warnings: Vec<String>,
}

/// Parses `SYMBOL` or `SYMBOL%return`, also after `func:`.
fn parse(selector: &str) -> FunctionPattern {
    let symbol = selector.strip_prefix(FUNCTIONS).and_then(|rest| rest.strip_prefix(':'));
    FunctionPattern::new(symbol.unwrap_or(selector))
}

/// Returns notes for the functions that the selectors name. `present` are notes that the file has
/// already: sites with one get no second one.
pub(super) fn notes(
    view: &View<'_>,
    go: &GoBinary<'_>,
    arch: Arch,
    selectors: &[String],
    present: &[Note],
    goid_offset: Option<u32>,
) -> Result<FunctionNotes, SealError> {
    if let Some(reason) = go.no_entries() {
        return Err(SealError::Functions(reason.describe(go.version(), arch)));
    }
    let parsed: Vec<FunctionPattern> = selectors.iter().map(|text| parse(text)).collect();
    let matches = |name: &str| parsed.iter().any(|selector| selector.matches_symbol(name));
    let found = go.find_functions(matches, MAX_FUNCTIONS);
    if found.exceeds_limit {
        let selectors = selectors.join("`, `");
        let problem = format!("more than {MAX_FUNCTIONS} match `{selectors}`; name fewer");
        return Err(SealError::Functions(problem));
    }
    let names = || found.functions.iter().map(|function| &function.name).chain(&found.inlined);
    for (selector, text) in parsed.iter().zip(selectors) {
        if !names().any(|name| selector.matches_symbol(name)) {
            return Err(SealError::Functions(format!(
                "no function matches `{text}`; `usdt-attach list BIN 'func:main.*'` lists those of package main"
            )));
        }
    }
    let mut skipped = Refused::default();
    for name in &found.inlined {
        skipped.add(name, "the compiler inlined its calls, so that it has no code of its own");
    }
    let present = present.iter().filter(|note| note.provider == FUNCTIONS);
    let present: HashMap<u64, &str> = present.map(|note| (note.pc, note.name.as_str())).collect();
    let mut writer = Writer {
        view,
        arch,
        goid_offset,
        debug_info: DebugInfo::read(go).ok(),
        names: present.values().map(|name| (*name).to_owned()).collect(),
        present,
        probes: Vec::new(),
    };
    for function in &found.functions {
        let wants = |is_return| {
            let mut selectors = parsed.iter().filter(|s| s.is_return == is_return);
            selectors.any(|s| s.matches_symbol(&function.name))
        };
        match go.function_sites(function) {
            Ok(sites) => writer.add(function, &sites, [wants(false), wants(true)], &mut skipped),
            Err(reason) => skipped.add(&function.name, reason.to_string()),
        }
    }
    let skipped = skipped.by_reason("");
    let warnings = skipped.map(|(names, reason)| format!("no note for {names}: {reason}"));
    Ok(FunctionNotes { warnings: warnings.collect(), probes: writer.probes })
}

struct Writer<'v, 'a, 'p> {
    view: &'v View<'a>,
    arch: Arch,
    goid_offset: Option<u32>,
    debug_info: Option<DebugInfo<'a>>,
    /// The sites that have a note of the provider, and its name.
    present: HashMap<u64, &'p str>,
    /// The names of all notes of the provider.
    names: HashSet<String>,
    probes: Vec<Probe>,
}

impl Writer<'_, '_, '_> {
    fn add(
        &mut self,
        function: &FoundFunction,
        sites: &FunctionSites,
        [wants_entry, wants_return]: [bool; 2],
        skipped: &mut Refused,
    ) {
        if wants_return && sites.returns.is_empty() {
            skipped.add(&function.name, "it has no return instruction");
        }
        if wants_return && !sites.tail_calls.is_empty() {
            skipped.add(
                &format!("some returns of {}", function.name),
                "these calls end in a jump to another function",
            );
        }
        let entry = if wants_entry { std::slice::from_ref(&sites.entry) } else { &[] };
        let returns = if wants_return { sites.returns.as_slice() } else { &[] };
        for (sites, at) in [(entry, Point::Entry), (returns, Point::Return)] {
            let is_new = |pc: &&u64| {
                let segment = self.view.load_segment(**pc, 1);
                segment.is_some_and(Segment::is_executable) && !self.present.contains_key(*pc)
            };
            let new: Vec<u64> = sites.iter().filter(is_new).copied().collect();
            if !new.is_empty() {
                self.add_notes(function, &new, at);
            }
        }
    }

    fn add_notes(&mut self, function: &FoundFunction, sites: &[u64], at: Point) {
        let debug_info = self.debug_info.as_mut();
        let signature = debug_info.and_then(|info| info.signature(function.range.start).ok());
        let arguments = match &signature {
            Some(signature) => self.typed_arguments(signature, at),
            None => self.registers(function, at),
        };
        let mut specs: Vec<String> =
            arguments.iter().flat_map(|(_, specs)| specs.clone()).collect();
        specs.extend(self.goid_offset.map(|offset| goroutine_id_spec(offset, self.arch)));
        let (suffix, symbol) = match at {
            Point::Entry => ("", function.name.clone()),
            Point::Return => ("__return", format!("{}{RETURN}", function.name)),
        };
        let name = self.unique_name(&probe_name(&function.name), suffix);
        let body = NoteBody {
            version: schema::VERSION,
            provider: FUNCTIONS.to_owned(),
            probe: schema::Probe {
                name: name.clone(),
                args: arguments.into_iter().map(|(argument, _)| argument).collect(),
                doc: signature.map(|signature| signature.to_string()).unwrap_or_default(),
                stability: None,
                symbol: Some(symbol),
            },
        };
        for pc in sites {
            let note = Note {
                pc: *pc,
                base: 0,
                semaphore: 0,
                provider: FUNCTIONS.to_owned(),
                name: name.clone(),
                args: specs.join(" "),
            };
            self.probes.push(Probe { note, schema: body.to_json(), blob: None, goid_offset: None });
        }
    }

    /// Returns a name that no other probe has, and reserves it.
    fn unique_name(&mut self, name: &str, suffix: &str) -> String {
        let numbered = (2..).map(|number| format!("{name}_{number}{suffix}"));
        let names = std::iter::once(format!("{name}{suffix}")).chain(numbered);
        let free = names.into_iter().find(|name| !self.names.contains(name)).unwrap_or_default();
        self.names.insert(free.clone());
        free
    }

    /// Returns the parameters or results that notes can express, as far as tracers read them.
    fn typed_arguments(&mut self, signature: &Signature, at: Point) -> Vec<Argument> {
        let Some(debug_info) = &mut self.debug_info else { return Vec::new() };
        let mut room = MAX_WORDS - usize::from(self.goid_offset.is_some());
        let mut out: Vec<Argument> = Vec::new();
        for (position, variable) in signature.variables(at).enumerate() {
            let Ok(value) = debug_info.default_value(variable) else { continue };
            let name = identifier(&variable.display_name(position, at));
            let Some((argument, specs)) = argument(&name, &value, self.arch) else { continue };
            let is_known = out.iter().any(|(known, _)| known.name == argument.name);
            let Some(left) = room.checked_sub(specs.len()).filter(|_| !is_known) else { continue };
            room = left;
            out.push((argument, specs));
        }
        out
    }

    /// Returns the registers of the parameters of a function without debug information. How many
    /// results it has is not known.
    fn registers(&self, function: &FoundFunction, at: Point) -> Vec<Argument> {
        let words = match at {
            Point::Entry => function.argument_words.unwrap_or(0) as usize,
            Point::Return => 0,
        };
        let room = MAX_WORDS - usize::from(self.goid_offset.is_some());
        let registers =
            (0..words.min(room)).map_while(|n| Some((n, argument_register(n, self.arch)?)));
        let argument = |(position, number)| {
            let operand = Operand::Register(Register::gpr(number));
            let value = argspec::Value { size: 8, signed: false, float: false, operand };
            let name = format!("arg{position}");
            (schema::Arg::new(name, "uint64", Kind::Int, 8, false), vec![value.to_spec(self.arch)])
        };
        registers.map(argument).collect()
    }
}

/// An argument, and the specifications of its words.
type Argument = (schema::Arg, Vec<String>);

/// Returns a value as an argument; `None` if a note cannot express it.
fn argument(name: &str, value: &Value, arch: Arch) -> Option<Argument> {
    let interface;
    let (name, kind, words) = match (value.format, value.words.as_slice()) {
        (Format::Int | Format::Duration, words @ [_]) => (name.to_owned(), Kind::Int, words),
        (Format::Bool, words @ [_]) => (name.to_owned(), Kind::Bool, words),
        (Format::Float, words @ [_]) => (name.to_owned(), Kind::Float, words),
        (Format::Pointer, words @ [_]) => (name.to_owned(), Kind::Pointer, words),
        (Format::String, words @ [_, _]) => (name.to_owned(), Kind::String, words),
        (Format::Bytes, words @ [_, _]) => (name.to_owned(), Kind::Bytes, words),
        (Format::Slice | Format::Map | Format::Chan, [len, ..]) => {
            (format!("{name}_len"), Kind::Int, std::slice::from_ref(len))
        }
        (Format::Interface | Format::Error, [ty, ..]) => {
            interface = ty.interface_start();
            (name.to_owned(), Kind::Pointer, std::slice::from_ref(&interface))
        }
        _ => return None,
    };
    let spec = |word: &Word| {
        let (size, signed) = (word.size, word.signed);
        let operand = operand(&word.location, arch)?;
        Some(argspec::Value { size, signed, float: false, operand }.to_spec(arch))
    };
    let specs = words.iter().map(spec).collect::<Option<Vec<String>>>()?;
    let first = words.first()?;
    let unit = (value.format == Format::Duration).then(|| "ns".to_owned());
    let ty = spelling(&value.type_name, kind);
    let argument = schema::Arg::new(name, ty, kind, first.size, first.signed);
    Some((schema::Arg { unit, ..argument }, specs))
}

/// Returns a type as the schema spells it: tools read brackets as those of a C array.
fn spelling(type_name: &str, kind: Kind) -> &str {
    match kind {
        _ if !type_name.contains('[') => type_name,
        Kind::Bytes => "bytes",
        Kind::Int => "int",
        _ => "unsafe.Pointer",
    }
}

/// Returns the name of a function's probe: letters, digits and `_`, which is what the kernel accepts
/// in the names of events. The parentheses and the asterisk of a receiver are left out.
fn probe_name(symbol: &str) -> String {
    identifier(&symbol.replace(['(', ')', '*'], ""))
}

/// Replaces the characters that names cannot have.
fn identifier(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !out.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use gobinary::function_entry::Location;
    use proptest::prelude::*;

    #[test]
    fn names_have_only_letters_digits_and_underscores() {
        for (symbol, name) in [
            ("main.run", "main_run"),
            ("main.(*Store).Get", "main_Store_Get"),
            ("net/http.(*conn).serve", "net_http_conn_serve"),
            ("gopkg.in/yaml%2ev3.Unmarshal", "gopkg_in_yaml_2ev3_Unmarshal"),
            ("main.Map[go.shape.int]", "main_Map_go_shape_int_"),
            ("main.run.func1", "main_run_func1"),
            ("4.é", "_4__"),
        ] {
            assert_eq!(probe_name(symbol), name);
        }
    }

    #[test]
    fn selectors_are_those_of_function_probes() {
        let is_return = |text: &str| {
            let selector = parse(text);
            assert!(selector.matches_symbol("main.(*T).M"), "{text}");
            selector.is_return
        };
        assert!(!is_return("main.(*T).M") && !is_return("func:main.*"));
        assert!(is_return("main.(*T).?%return") && is_return("func:main.(*T).M%return"));
    }

    fn value(format: Format, locations: &[Location]) -> Value {
        let word = |location: &Location| Word { location: location.clone(), size: 4, signed: true };
        let words = locations.iter().map(word).collect();
        Value { format, type_name: "T".to_owned(), guards: Vec::new(), words }
    }

    #[test]
    fn leaves_out_what_notes_cannot_express() {
        let specs = |format, locations: &[Location]| {
            argument("x", &value(format, locations), Arch::Aarch64).map(|(arg, s)| (arg.name, s))
        };
        let memory = |offsets: &[i64]| Location::Memory { base: 31, offsets: offsets.to_vec() };
        let some = |name: &str, specs: &[&str]| {
            Some((name.to_owned(), specs.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()))
        };
        let register = Location::Register;
        assert_eq!(specs(Format::Int, &[register(1)]), some("x", &["-4@x1"]));
        assert_eq!(specs(Format::Int, &[memory(&[16])]), some("x", &["-4@[sp, 16]"]));
        assert_eq!(specs(Format::Int, &[memory(&[16, 8])]), None);
        let two = [register(1), register(2)];
        assert_eq!(specs(Format::Slice, &two), some("x_len", &["-4@x1"]));
        assert_eq!(specs(Format::String, &two), some("x", &["-4@x1", "-4@x2"]));
        let through_itab = [Location::Memory { base: 1, offsets: vec![8] }, register(2)];
        assert_eq!(specs(Format::Interface, &through_itab), some("x", &["-4@x1"]));
        assert_eq!(specs(Format::Complex, &two), None);
    }

    proptest! {
        #[test]
        fn names_every_symbol(symbol: String) {
            let name = probe_name(&symbol);
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            prop_assert!(!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()));
        }
    }
}
