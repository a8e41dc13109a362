//! The arguments of function probes: parameters at the entry, results at the returns.
//!
//! Debug information has their names and types. Without it, they are the registers of Go's calling
//! convention: `arg0` at the entry, `ret0` at the returns.

use super::functions::print;
use super::{ArgumentGuard, DebugFile, FileBytes, InterfaceWords};
use gobinary::GoBinary;
use gobinary::dwarf::{DebugInfo, DebugInfoError};
use gobinary::function_entry::Location;
use gobinary::function_search::{FoundFunction, argument_register};
use gobinary::signature::{Format, Guard, Signature, Value, Word};
use gobinary::value_path::{PathError, Point, ValuePath};
use indexmap::IndexMap;
use stapsdt::argspec::Arch;
use stapsdt::schema::{self, Kind};

/// The starts of paths to sizes.
const SIZES: [&str; 2] = ["len(", "cap("];

/// What the options of a command say about function probes.
#[derive(Clone, Debug, Default)]
pub struct FunctionOptions {
    /// The arguments to read, each as `PATH` or `NAME=PATH`. If empty, those with numbers, strings,
    /// times and errors.
    pub chosen: Vec<String>,
    /// The arguments that filters, labels and histograms refer to. They are read in addition.
    pub used: Vec<String>,
    /// Files with the debug information of binaries. [`check_debug_files`](super::check_debug_files)
    /// says whether they belong to one.
    pub debug_files: Vec<DebugFile>,
    /// Whether to warn about inlined calls of functions that have code, too. It takes longer, because
    /// the tables of all functions are read.
    pub lists_inlined_calls: bool,
}

/// The arguments of a probe.
#[derive(Clone, Debug, Default)]
pub(super) struct FunctionArguments {
    /// Their locations, in the syntax of notes.
    pub(super) specs: Vec<String>,
    /// Their names and types.
    pub(super) schema: Vec<schema::Arg>,
    /// Where the words of interfaces are.
    pub(super) interfaces: Vec<InterfaceWords>,
    /// The conditions without which arguments do not exist.
    pub(super) guards: Vec<ArgumentGuard>,
    /// The signature of the function in Go's syntax; empty without debug information.
    pub(super) signature: String,
}

/// Reads the arguments of the functions of one file.
pub(super) struct ArgumentReader<'a, 'n> {
    debug_info: Option<DebugInfo<'a, &'a FileBytes>>,
    /// Why the debug information, which exists, is not used.
    debug_problem: Option<DebugInfoError>,
    arch: Arch,
    options: &'n FunctionOptions,
    /// The chosen arguments, each with the reason why no function so far has it; `None` if one has
    /// it.
    problems: IndexMap<&'n str, Option<String>>,
}

impl<'a, 'n> ArgumentReader<'a, 'n> {
    /// Opens the debug information of a binary, which is in `debug_file` unless that is `None`.
    pub(super) fn new(
        go: &GoBinary<'a, &'a FileBytes>,
        debug_file: Option<&'a FileBytes>,
        arch: Arch,
        options: &'n FunctionOptions,
    ) -> ArgumentReader<'a, 'n> {
        let read = match debug_file {
            Some(file) => DebugInfo::read_separate(go, file),
            None => DebugInfo::read(go),
        };
        let (debug_info, problem) = match read {
            Ok(debug_info) => (Some(debug_info), None),
            Err(problem) => (None, Some(problem)),
        };
        let debug_problem = problem.filter(|problem| *problem != DebugInfoError::Missing);
        ArgumentReader { debug_info, debug_problem, arch, options, problems: IndexMap::new() }
    }

    /// Returns messages about debug information that is not used, and about the chosen arguments that
    /// no function has.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let debug_problem = self
            .debug_problem
            .iter()
            .map(|problem| format!("arguments of functions have no names and types: {problem}"));
        debug_problem.chain(self.problems.iter().filter_map(|(argument, problem)| {
            problem.as_ref().map(|problem| format!("skipped the argument `{argument}`: {problem}"))
        }))
    }

    /// Returns the signature of a function; `None` without debug information of it.
    pub(super) fn signature(&mut self, function: &FoundFunction) -> Option<Signature> {
        self.debug_info.as_mut()?.signature(function.range.start).ok()
    }

    /// Returns the arguments of a function at one of its sites.
    pub(super) fn arguments(
        &mut self,
        function: &FoundFunction,
        signature: Option<&Signature>,
        at: Point,
    ) -> FunctionArguments {
        let mut out = FunctionArguments::default();
        if let Some(signature) = signature {
            out.signature = signature.to_string();
        }
        if self.options.chosen.is_empty() {
            match signature {
                Some(signature) => self.add_defaults(&mut out, signature, at),
                None if at == Point::Entry => {
                    for position in 0..function.argument_words.unwrap_or(0) as usize {
                        let name = format!("arg{position}");
                        out.extend(self.register(&name, &name, at));
                    }
                }
                // The number of results is not known.
                None => {}
            }
        }
        for argument in &self.options.chosen {
            let (name, path) = name_and_path(argument);
            let read = self.named(signature, name, path, at);
            let problem = self.problems.entry(argument).or_insert_with(|| Some(String::new()));
            match read {
                Ok(words) => {
                    *problem = None;
                    out.extend(words);
                }
                // A function that has the variable says more than one that does not.
                Err(reason) => {
                    if let Some(problem) = problem.as_mut()
                        && (problem.is_empty() || !reason.is_no_variable)
                    {
                        *problem = reason.message;
                    }
                }
            }
        }
        for name in &self.options.used {
            if let Ok(words) = self.named(signature, name, name, at) {
                out.extend(words);
            }
        }
        out
    }

    /// Returns the arguments that the options ask for, as names and paths, and whether the defaults
    /// are wanted, too.
    pub(super) fn asked(&self) -> (Vec<(&'n str, &'n str)>, bool) {
        let chosen = self.options.chosen.iter().map(|argument| name_and_path(argument));
        let used = self.options.used.iter().map(|name| (name.as_str(), name.as_str()));
        (chosen.chain(used).collect(), self.options.chosen.is_empty())
    }

    /// Returns true if a path leads to a value of the function itself.
    pub(super) fn reads(&mut self, signature: Option<&Signature>, path: &str, at: Point) -> bool {
        self.named(signature, path, path, at).is_ok()
    }

    /// Notes that a function has a chosen argument.
    pub(super) fn found(&mut self, name: &str, path: &str) {
        let is_same = |argument: &&String| name_and_path(argument) == (name, path);
        for argument in self.options.chosen.iter().filter(is_same) {
            self.problems.insert(argument, None);
        }
    }

    /// Adds the parameters or results with numbers, strings, times and errors.
    fn add_defaults(&mut self, out: &mut FunctionArguments, signature: &Signature, at: Point) {
        let Some(debug_info) = &mut self.debug_info else { return };
        for (position, variable) in signature.variables(at).enumerate() {
            let Ok(value) = debug_info.default_value(variable) else { continue };
            let is_default = matches!(
                value.format,
                Format::Int
                    | Format::Bool
                    | Format::Float
                    | Format::String
                    | Format::Duration
                    | Format::Time
                    | Format::Error
            );
            if is_default {
                out.extend(typed(&variable.display_name(position, at), &value, self.arch));
            }
        }
    }

    /// Returns the argument at a path under a name.
    fn named(
        &mut self,
        signature: Option<&Signature>,
        name: &str,
        path: &str,
        at: Point,
    ) -> Result<Vec<Argument>, NoArgument> {
        let (Some(signature), Some(debug_info)) = (signature, &mut self.debug_info) else {
            let argument = self.register(name, path, at);
            return argument.map(|argument| vec![argument]).ok_or_else(|| {
                NoArgument::new("without debug information (DWARF), arguments are `arg0`, `arg1` … and results `ret0`, `ret1` …; pass a file that has it by `--debug`".to_owned())
            });
        };
        let named = signature.variables(at).enumerate();
        let names = named.map(|(position, v)| (v.display_name(position, at), v.name.as_str()));
        let path = with_source_name(path, names);
        let parsed = ValuePath::parse(&path)?;
        let value = debug_info.value_at(signature, at, &parsed)?;
        let arguments = typed(name, &value, self.arch);
        match arguments.is_empty() {
            true => {
                let message = format!("values of type `{}` are not supported", value.type_name);
                Err(NoArgument::new(message))
            }
            false => Ok(arguments),
        }
    }

    /// Returns the register that a name such as `arg0` or `ret0` stands for.
    fn register(&self, name: &str, path: &str, at: Point) -> Option<Argument> {
        let prefix = match at {
            Point::Entry => "arg",
            Point::Return => "ret",
        };
        let position = path.strip_prefix(prefix)?.parse().ok()?;
        let location = Location::Register(argument_register(position, self.arch)?);
        let word = Word { location, size: 8, signed: false };
        Some(argument(name, "uint64", Kind::Int, &[&word], self.arch))
    }
}

/// A reason why a function does not have an argument.
struct NoArgument {
    message: String,
    /// True if the function has no parameter or result of this name.
    is_no_variable: bool,
}

impl NoArgument {
    fn new(message: String) -> NoArgument {
        NoArgument { message, is_no_variable: false }
    }
}

impl From<PathError> for NoArgument {
    fn from(error: PathError) -> NoArgument {
        let is_no_variable = matches!(error, PathError::NoVariable { .. });
        // Users know unnamed parameters and results by other names.
        let message = error.to_string();
        let message =
            message.replace("~p", "arg").replace("~r", "ret").replace("usdtInjectR", "ret");
        NoArgument { message, is_no_variable }
    }
}

/// An argument, and the words that it consists of.
struct Argument {
    specs: Vec<String>,
    schema: schema::Arg,
    interface: Option<InterfaceWords>,
    guards: Vec<ArgumentGuard>,
}

impl FunctionArguments {
    /// Adds arguments with new names.
    fn extend(&mut self, arguments: impl IntoIterator<Item = Argument>) {
        for argument in arguments {
            if self.schema.iter().all(|known| known.name != argument.schema.name) {
                self.specs.extend(argument.specs);
                self.schema.push(argument.schema);
                self.interfaces.extend(argument.interface);
                self.guards.extend(argument.guards);
            }
        }
    }
}

/// Returns the name and the path of a chosen argument, `PATH` or `NAME=PATH`.
fn name_and_path(argument: &str) -> (&str, &str) {
    argument.split_once('=').unwrap_or((argument, argument))
}

/// Replaces the name at the start of a path, or in `len(…)`, by the one of the debug information.
/// `names` are pairs of the name that users know and the one of the debug information.
pub(super) fn with_source_name<'v>(
    path: &str,
    names: impl IntoIterator<Item = (String, &'v str)>,
) -> String {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let start = SIZES.iter().find(|size| path.starts_with(**size)).map_or(0, |size| size.len());
    let start = start + path.get(start..).and_then(|rest| rest.find(is_name)).unwrap_or(0);
    let (before, rest) = path.split_at(start);
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    match names.into_iter().find(|(known, _)| known == name) {
        Some((_, source)) => format!("{before}{source}{after}"),
        None => path.to_owned(),
    }
}

/// Returns a value as arguments: most values are one.
fn typed(name: &str, value: &Value, arch: Arch) -> Vec<Argument> {
    let words: Vec<&Word> = value.words.iter().collect();
    let one =
        |name: &str, kind, words: &[&Word]| argument(name, &value.type_name, kind, words, arch);
    let of = |function: &str| match is_size(name) {
        true => name.to_owned(),
        false => format!("{function}({name})"),
    };
    let interface = |ty: &Word, kind, words: &[&Word]| {
        let spec = |word: &Word| print(&word.location, word.size, word.signed, arch);
        let (first, ty) = (spec(&ty.interface_start()), spec(ty));
        let interface = Some(InterfaceWords { name: name.to_owned(), first, ty });
        Argument { interface, ..one(name, kind, words) }
    };
    let mut arguments = match (value.format, words.as_slice()) {
        (Format::Int, [word]) => vec![one(name, Kind::Int, &[word])],
        (Format::Bool, [word]) => vec![one(name, Kind::Bool, &[word])],
        (Format::Float, [word]) => vec![one(name, Kind::Float, &[word])],
        (Format::Pointer | Format::Func, [word]) => vec![one(name, Kind::Pointer, &[word])],
        (Format::String, [pointer, len]) => vec![one(name, Kind::String, &[pointer, len])],
        (Format::Bytes, [pointer, len]) => vec![one(name, Kind::Bytes, &[pointer, len])],
        (Format::Duration, [word]) => {
            let mut duration = one(name, Kind::Int, &[word]);
            duration.schema.unit = Some("ns".to_owned());
            vec![duration]
        }
        (Format::Time, [wall, ext]) => vec![one(name, Kind::Time, &[wall, ext])],
        (Format::Map, [len]) => vec![one(&of("len"), Kind::Int, &[len])],
        (Format::Slice | Format::Chan, [len, capacity]) => {
            vec![one(&of("len"), Kind::Int, &[len]), one(&of("cap"), Kind::Int, &[capacity])]
        }
        (Format::Interface, [ty, ..]) => {
            vec![interface(ty, Kind::Pointer, &[&ty.interface_start()])]
        }
        (Format::Error, [ty, _, pointer, len]) => {
            vec![interface(ty, Kind::Error, &[pointer, len])]
        }
        _ => Vec::new(),
    };
    for argument in &mut arguments {
        let guard = |guard: &Guard| ArgumentGuard {
            argument: argument.schema.name.clone(),
            word: print(&guard.word.location, guard.word.size, guard.word.signed, arch),
            test: guard.test,
        };
        argument.guards = value.guards.iter().map(guard).collect();
    }
    arguments
}

/// Returns true for `len(…)` and `cap(…)`. Type assertions have parentheses, too.
fn is_size(path: &str) -> bool {
    SIZES.iter().any(|size| path.starts_with(size))
}

fn argument(name: &str, ty: &str, kind: Kind, words: &[&Word], arch: Arch) -> Argument {
    let spec = |word: &&Word| {
        let spec = print(&word.location, word.size, word.signed, arch);
        match kind {
            Kind::Float => spec.replacen('@', "f@", 1),
            _ => spec,
        }
    };
    let first = words.first();
    let (size, signed) = first.map_or((8, false), |word| (word.size, word.signed));
    Argument {
        specs: words.iter().map(spec).collect(),
        schema: schema::Arg::new(name, ty, kind, size, signed),
        interface: None,
        guards: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(format: Format, words: usize) -> Value {
        let word = |n| Word { location: Location::Register(n), size: 8, signed: n == 0 };
        let words = (0..words as u8).map(word).collect();
        Value { format, type_name: "T".to_owned(), guards: Vec::new(), words }
    }

    fn specs(name: &str, value: &Value) -> Vec<(String, String)> {
        let arguments = typed(name, value, Arch::X86_64);
        arguments.into_iter().map(|a| (a.schema.name, a.specs.join(" "))).collect()
    }

    #[test]
    fn values_become_arguments() {
        let pair = |name: &str, spec: &str| (name.to_owned(), spec.to_owned());
        assert_eq!(specs("n", &value(Format::Int, 1)), [pair("n", "-8@%rax")]);
        assert_eq!(specs("s", &value(Format::String, 2)), [pair("s", "-8@%rax 8@%rcx")]);
        let sizes = [pair("len(x)", "-8@%rax"), pair("cap(x)", "8@%rcx")];
        assert_eq!(specs("x", &value(Format::Slice, 2)), sizes);
        assert_eq!(specs("len(m)", &value(Format::Map, 1)), [pair("len(m)", "-8@%rax")]);
        let location = Location::Memory { base: 4, offsets: vec![8, 16] };
        let word = Word { location, size: 4, signed: false };
        let float = Value { words: vec![word], ..value(Format::Float, 0) };
        assert_eq!(specs("f", &float), [pair("f", "4f@16(8(%rsp))")]);
    }

    #[test]
    fn interfaces_are_their_first_word() {
        let with = |offsets: Vec<i64>| {
            let location = Location::Memory { base: 3, offsets };
            let word = Word { location, size: 8, signed: false };
            specs("e", &Value { words: vec![word], ..value(Format::Interface, 0) }).remove(0).1
        };
        assert_eq!(with(vec![8]), "8@%rbx");
        assert_eq!(with(vec![40, 8]), "8@40(%rbx)");
        assert_eq!(with(vec![40]), "8@40(%rbx)");
    }

    #[test]
    fn unnamed_results_have_the_names_of_registers() {
        let named = |path| {
            let names = [("ret0", "~r0"), ("ret1", "~r1")];
            with_source_name(path, names.map(|(known, source)| (known.to_owned(), source)))
        };
        assert_eq!(named("ret1.X"), "~r1.X");
        assert_eq!(named("len(ret0)"), "len(~r0)");
        assert_eq!(named("ret1.(*fs.PathError).Err"), "~r1.(*fs.PathError).Err");
        assert_eq!(named("len((*ret0)[1])"), "len((*~r0)[1])");
        assert_eq!(named("*ret0"), "*~r0");
        assert_eq!((named("ret2"), named("")), ("ret2".to_owned(), String::new()));
    }

    proptest::proptest! {
        #[test]
        fn accepts_any_path(path: String) {
            let unchanged = with_source_name(&path, [("x".to_owned(), "x")]);
            proptest::prop_assert_eq!(unchanged, path);
        }
    }
}
