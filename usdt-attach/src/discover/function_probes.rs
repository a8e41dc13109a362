//! Function probes: the entry and the returns of any function of a Go binary, as `func:SYMBOL` and
//! `func:SYMBOL%return`.
//!
//! A return probe has a site at each return instruction of the function. No return address is
//! changed, as return probes of the kernel do: that corrupts the stacks of Go.

use super::function_arguments::{ArgumentReader, FunctionArguments, FunctionOptions};
use super::injected::{InjectedProbes, function_probe};
use super::{FileBytes, Object, Probe, ScannedObject, Source, debug_files};
use crate::error::{Warning, WarningKind};
use gobinary::GoBinary;
use gobinary::function_search::{FoundFunction, FunctionSites};
use gobinary::inlined_calls::InlinedCall;
use gobinary::refused::{Refused, first_names};
use gobinary::signature::Signature;
use gobinary::symbol_pattern::{FUNCTIONS, FunctionPattern, RETURN};
use gobinary::value_path::Point;
use indexmap::{IndexMap, IndexSet};
use stapsdt::argspec::Arch;
use stapsdt::elf::View;
use stapsdt::escape::Escaped;
use stapsdt::schema;
use stapsdt::site::Instruction;
use std::sync::Arc;

/// The number of functions that the globs of a command may match in a file. Each has several sites.
const MAX_FUNCTIONS: usize = 4096;
/// The number of functions and places that are named in a warning.
const MAX_NAMED: usize = 3;
/// The number of functions up to which inlined calls of them are looked for, which reads the tables of
/// all functions.
const MAX_INLINED: usize = 16;
/// The number of inlined calls that are counted.
const MAX_INLINED_CALLS: usize = 1000;

/// Adds the functions of a Go binary that one of the globs names as probes.
///
/// Functions that cannot be attached to get a warning that says why.
pub(super) fn add_function_probes(
    one: &mut ScannedObject,
    globs: &[String],
    options: &FunctionOptions,
) {
    let patterns: Vec<FunctionPattern> =
        globs.iter().filter_map(|glob| FunctionPattern::parse(glob)).collect();
    if patterns.is_empty() {
        return;
    }
    let bytes = one.object.bytes();
    let mut messages = Vec::new();
    let debug_file = debug_files::find(&one.object, &bytes, &options.debug_files);
    let debug_file = debug_file.unwrap_or_else(|reason| {
        messages.push(format!("{}: {reason}", Escaped::new(&one.object.path)));
        None
    });
    let debug_bytes = debug_file.as_ref().map(|file| file.bytes(&bytes));
    if let Some(mut search) = Search::start(&bytes, debug_bytes.as_ref(), options) {
        let path = Escaped::new(&one.object.path).to_string();
        search.injected = InjectedProbes::of(&one.probes);
        search.add(&patterns);
        one.probes.extend(search.probes.into_iter().map(Arc::new));
        messages.extend(search.messages.into_iter().map(|message| format!("{path}: {message}")));
        let inlined = inlined_calls(&one.object, &bytes, &search.inlined);
        messages.extend(inlined.into_iter().map(|message| format!("{path}: {message}")));
        let problems = search.arguments.problems();
        messages.extend(problems.map(|message| format!("{path}: {message}")));
        for (list, verb) in [(&search.refused, "skipped"), (&search.unused, "uses the code of")] {
            let prefix = format!("{FUNCTIONS}:");
            let by_reason = list.by_reason(&prefix);
            messages.extend(by_reason.map(|(names, why)| format!("{path}: {verb} {names}: {why}")));
        }
    }
    let debug = debug_file.as_ref().zip(debug_bytes.as_ref());
    let read = debug.map(|(file, bytes)| (bytes, file.object()));
    for (bytes, object) in read.into_iter().chain([(&bytes, &*one.object)]) {
        if let Err(error) = bytes.check(object) {
            messages.push(format!("{error:#}"));
        }
    }
    let warning = |message| Warning::new(WarningKind::SkippedProbe, message);
    one.warnings.extend(messages.into_iter().map(warning));
}

/// The search for functions in a file.
struct Search<'a, 'n> {
    view: View<'a, &'a FileBytes>,
    go: GoBinary<'a, &'a FileBytes>,
    arch: Arch,
    goid_offset: Option<u32>,
    arguments: ArgumentReader<'a, 'n>,
    probes: Vec<Probe>,
    messages: Vec<String>,
    /// The probes that were injected into the functions.
    injected: InjectedProbes,
    refused: Refused,
    /// The functions with an injected probe that is not used.
    unused: Refused,
    /// Whether inlined calls of functions with code are looked for, too.
    lists_inlined_calls: bool,
    /// The functions of which inlined calls are looked for.
    inlined: Vec<String>,
}

impl<'a, 'n> Search<'a, 'n> {
    /// Reads the headers of a file; `None` if it is not a Go binary.
    fn start(
        bytes: &'a FileBytes,
        debug_file: Option<&'a FileBytes>,
        options: &'n FunctionOptions,
    ) -> Option<Search<'a, 'n>> {
        let view = View::read(bytes).ok()?;
        let (arch, go) = view.arch().zip(GoBinary::read(bytes))?;
        Some(Search {
            view,
            goid_offset: go.goid_offset(),
            arguments: ArgumentReader::new(&go, debug_file, arch, options),
            go,
            arch,
            probes: Vec::new(),
            messages: Vec::new(),
            injected: InjectedProbes::default(),
            refused: Refused::default(),
            unused: Refused::default(),
            lists_inlined_calls: options.lists_inlined_calls,
            inlined: Vec::new(),
        })
    }

    fn add(&mut self, patterns: &[FunctionPattern]) {
        if let Some(reason) = self.go.no_entries() {
            let reason = reason.describe(self.go.version(), self.arch);
            self.messages.push(format!("skipped its functions: {reason}"));
            return;
        }
        let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches_symbol(name));
        let found = self.go.find_functions(matches, MAX_FUNCTIONS);
        if found.exceeds_limit {
            let globs: Vec<String> = patterns.iter().map(|p| format!("`{p}`")).collect();
            self.messages.push(format!(
                "skipped its functions: more than {MAX_FUNCTIONS} match {}; use a narrower glob",
                globs.join(", ")
            ));
            return;
        }
        let wants_of = |name: &str| {
            [false, true].map(|is_return| {
                patterns.iter().any(|p| p.is_return == is_return && p.matches_symbol(name))
            })
        };
        for name in &found.inlined {
            self.refused.add(name, "the compiler inlined its calls, so that it has no code of its own; a `//go:noinline` comment prevents that");
        }
        self.inlined = found.inlined;
        for function in found.functions {
            let has_injected = self.add_function(&function, wants_of(&function.name));
            if self.lists_inlined_calls && !has_injected {
                self.inlined.push(function.name);
            }
        }
    }

    /// Adds the entry, the returns, or both of a function with code: at its injected probes, if it has
    /// any, and in its code. Returns whether it has all that are wanted as injected probes.
    fn add_function(&mut self, function: &FoundFunction, wants: [bool; 2]) -> bool {
        let sites = self.go.function_sites(function);
        let signature = self.arguments.signature(function);
        let injected = self.add_injected(function, signature.as_ref(), wants);
        match sites {
            Ok(sites) => self.add_sites(function, &sites, signature.as_ref(), wants, injected),
            Err(_) if injected == wants => {}
            Err(reason) => self.refused.add(&function.name, reason.to_string()),
        }
        injected == wants
    }

    /// Adds the entry and the returns that are wanted and have an injected probe. Returns which.
    fn add_injected(
        &mut self,
        function: &FoundFunction,
        signature: Option<&Signature>,
        wants: [bool; 2],
    ) -> [bool; 2] {
        let [wants_entry, wants_return] = wants;
        [("", Point::Entry, wants_entry), (RETURN, Point::Return, wants_return)].map(
            |(suffix, at, is_wanted)| {
                let name = format!("{}{suffix}", function.name);
                let injected = self.injected.find(&name).filter(|_| is_wanted);
                let Some(injected) = injected else { return false };
                let probe = function_probe(injected, &name, signature, at, &mut self.arguments);
                match probe {
                    Ok(probe) => {
                        self.probes.push(probe);
                        true
                    }
                    Err(path) => {
                        let why = format!("the injected probe does not show `{path}`");
                        self.unused.add(&name, why);
                        false
                    }
                }
            },
        )
    }

    /// Adds the entry, the returns, or both in the code of a function. `injected` says which of them
    /// have an injected probe.
    fn add_sites(
        &mut self,
        function: &FoundFunction,
        sites: &FunctionSites,
        signature: Option<&Signature>,
        [wants_entry, wants_return]: [bool; 2],
        [_, has_injected_return]: [bool; 2],
    ) {
        if wants_entry {
            let arguments = self.arguments.arguments(function, signature, Point::Entry);
            self.probes.extend(self.probe(&function.name, sites.entry, &arguments));
        }
        if !wants_return {
            return;
        }
        if !has_injected_return {
            self.explain_missed_returns(function, sites);
        }
        let results = self.arguments.arguments(function, signature, Point::Return);
        let name = format!("{}{RETURN}", function.name);
        for at in &sites.returns {
            self.probes.extend(self.probe(&name, *at, &results));
        }
    }

    /// Adds a message if calls of a function return elsewhere or never.
    fn explain_missed_returns(&mut self, function: &FoundFunction, sites: &FunctionSites) {
        if sites.returns.is_empty() {
            self.refused.add(
                &function.name,
                match sites.tail_calls.is_empty() {
                    true => "it has no return instruction: its calls never return",
                    false => "it ends in a jump to another function, whose return is its return",
                },
            );
        } else if !sites.tail_calls.is_empty() {
            let targets = sites.tail_calls.iter().filter_map(|at| self.go.function_name_at(*at));
            let targets: Vec<&str> = targets.take(MAX_NAMED).collect();
            self.messages.push(format!(
                "{FUNCTIONS}:{}{RETURN} misses calls that end in a jump to {}",
                function.name,
                targets.join(", ")
            ));
        }
    }

    fn probe(&self, name: &str, address: u64, arguments: &FunctionArguments) -> Option<Probe> {
        /// Bytes of code that identify an instruction; no instruction is longer.
        const MAX_INSTRUCTION: u64 = 16;
        self.view.load_segment(address, 1).filter(|s| s.is_executable())?;
        let code = self.view.bytes_up_to(address, MAX_INSTRUCTION)?;
        let instruction = Instruction::classify(code, self.arch);
        Some(Probe {
            provider: FUNCTIONS.to_owned(),
            name: name.to_owned(),
            address,
            offset: self.view.vaddr_to_offset(address)?,
            semaphore: None,
            semaphore_offset: None,
            args: arguments.specs.join(" "),
            source: Source::Function,
            schema: Some(schema::Probe {
                name: name.to_owned(),
                args: arguments.schema.clone(),
                doc: arguments.signature.clone(),
                stability: None,
                symbol: None,
            }),
            schema_source: None,
            machine: self.view.machine_kind(),
            instruction,
            generated: false,
            has_nop10: false,
            risks_red_zone: false,
            stack_check: instruction == Instruction::Branch,
            goid_offset: self.goid_offset,
            enum_labels: Vec::new(),
            interfaces: arguments.interfaces.clone(),
            guards: arguments.guards.clone(),
            symbols: Arc::default(),
            injected: None,
        })
    }
}

/// Returns messages about inlined calls of functions. Looking for them reads the tables of all
/// functions, which are not kept in memory.
fn inlined_calls(object: &Object, bytes: &FileBytes, functions: &[String]) -> Vec<String> {
    if functions.is_empty() || functions.len() > MAX_INLINED {
        return Vec::new();
    }
    let own = object.bytes().next_to(bytes);
    let Some(go) = GoBinary::read(&own) else { return Vec::new() };
    let calls = go.inlined_calls(functions.iter().map(String::as_str), MAX_INLINED_CALLS);
    inlined_messages(&calls).collect()
}

/// Returns a message for each function of which calls are inlined, with the first of them.
fn inlined_messages(calls: &[InlinedCall<'_>]) -> impl Iterator<Item = String> {
    let mut places: IndexMap<&str, IndexSet<String>> = IndexMap::new();
    for call in calls {
        let place = match &call.line {
            Some(line) => {
                let file = line.file.rsplit('/').next().unwrap_or(line.file);
                format!("{file}:{} in {}", line.line, call.caller)
            }
            None => call.caller.to_owned(),
        };
        places.entry(&call.function).or_default().insert(place);
    }
    places.into_iter().map(|(function, places)| {
        let places = first_names(places.iter().map(String::as_str));
        format!("{FUNCTIONS}:{function} misses calls that are inlined, at {places}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_places_of_inlined_calls() {
        let call = |function: &str, caller, line| {
            let line = Some(gobinary::pclntab::Line { file: "/src/app/main.go", line });
            InlinedCall { function: function.to_owned(), caller, line, address: None }
        };
        let mut calls: Vec<InlinedCall<'_>> =
            [7, 7, 9, 11, 12].map(|line| call("main.f", "main.main", line)).into();
        calls.push(InlinedCall { line: None, ..call("main.g", "main.h", 1) });
        assert_eq!(
            inlined_messages(&calls).collect::<Vec<_>>(),
            [
                "func:main.f misses calls that are inlined, at main.go:7 in main.main, main.go:9 in main.main, main.go:11 in main.main and 1 more",
                "func:main.g misses calls that are inlined, at main.h",
            ]
        );
    }
}
