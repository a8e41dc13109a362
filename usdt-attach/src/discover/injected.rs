//! Injected probes in the place of function probes: a hit of a probe that `usdt-gen inject` has put
//! into a function costs less than one in the function's code, and its return probe also fires if a
//! panic ends the call.
//!
//! The schema of such a probe names its function. It is added only if it shows all arguments that
//! are asked for, because its arguments were chosen during the build. The function in its code is
//! added as well, and [`choose_sites`](crate::plan::Options::choose_sites) takes one of the two.

use super::function_arguments::{ArgumentReader, with_source_name};
use super::{Probe, SchemaSource};
use gobinary::signature::Signature;
use gobinary::symbol_pattern::FUNCTIONS;
use gobinary::value_path::Point;
use stapsdt::argspec;
use stapsdt::schema;
use std::collections::HashMap;
use std::sync::Arc;

/// The injected probes of a file by function.
#[derive(Default)]
pub(super) struct InjectedProbes(HashMap<String, Option<Arc<Probe>>>);

impl InjectedProbes {
    /// Returns those of the probes that can be used.
    pub(super) fn of(probes: &[Arc<Probe>]) -> InjectedProbes {
        let mut by_symbol: HashMap<String, Option<Arc<Probe>>> = HashMap::new();
        for probe in probes {
            // Without a semaphore in the file, the kernel cannot enable the probe.
            let is_usable = probe.generated
                && probe.semaphore_offset.is_some()
                && probe.schema_source == Some(SchemaSource::Binary);
            let symbol = probe.schema.as_ref().and_then(|schema| schema.symbol.as_deref());
            if let Some(symbol) = symbol.filter(|_| is_usable) {
                // Of two probes with one symbol, neither is known to fire at every call.
                let entry = by_symbol.entry(unescaped(symbol));
                entry.and_modify(|known| *known = None).or_insert_with(|| Some(Arc::clone(probe)));
            }
        }
        InjectedProbes(by_symbol)
    }

    /// Returns the probe of a function, which the function table names: `main.f`, `main.f%return`.
    pub(super) fn find(&self, name: &str) -> Option<&Probe> {
        self.0.get(&unescaped(name))?.as_deref()
    }
}

/// Replaces the `%xx` with which the linker escapes characters of import paths.
fn unescaped(symbol: &str) -> String {
    let mut out = Vec::new();
    let mut rest = symbol.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|d| *first == b'%' && d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns the function probe `name` at the site of an injected probe.
///
/// # Errors
///
/// Fails with the path of the first argument that the function itself has and the probe does not.
pub(super) fn function_probe(
    injected: &Probe,
    name: &str,
    signature: Option<&Signature>,
    at: Point,
    reader: &mut ArgumentReader<'_, '_>,
) -> Result<Probe, String> {
    let labels = signature.map(|signature| labels(signature, at)).unwrap_or_default();
    let shown = Shown::of(injected, &labels);
    let mut chosen: Vec<(schema::Arg, &[&str])> = Vec::new();
    let (asked, all) = reader.asked();
    for (name, path) in &asked {
        let in_function = reader.reads(signature, path, at);
        match shown.find(path, in_function) {
            Some((arg, words)) => {
                reader.found(name, path);
                if chosen.iter().all(|(known, _)| known.name != *name) {
                    chosen.push((schema::Arg { name: (*name).to_owned(), ..arg.clone() }, words));
                }
            }
            None if in_function => return Err((*path).to_owned()),
            None => {}
        }
    }
    if all {
        for (arg, words) in shown.renamed() {
            if chosen.iter().all(|(known, _)| known.name != arg.name) {
                chosen.push((arg, words));
            }
        }
    }
    let words = chosen.iter().flat_map(|(_, words)| *words).chain(&shown.goid);
    let args = words.copied().collect::<Vec<&str>>().join(" ");
    Ok(Probe {
        provider: FUNCTIONS.to_owned(),
        name: name.to_owned(),
        args,
        schema: Some(schema::Probe {
            name: name.to_owned(),
            args: chosen.into_iter().map(|(arg, _)| arg).collect(),
            doc: signature.map(Signature::to_string).unwrap_or_default(),
            stability: None,
            symbol: None,
        }),
        injected: Some(injected.full_name()),
        ..injected.clone()
    })
}

/// The name of a parameter or result for users of function probes, and the one in rules of
/// `usdt-gen inject`.
type Label = (String, String);

/// Returns the names of the parameters or results. In rules, results without a name are `r0`, `r1` …,
/// or `err` if they are errors.
fn labels(signature: &Signature, at: Point) -> Vec<Label> {
    let all = signature.variables(at).enumerate().map(|(position, variable)| {
        let rule_name = match (variable.is_unnamed(), variable.type_name.as_str()) {
            (false, _) => variable.name.clone(),
            (true, "error") => "err".to_owned(),
            (true, _) => format!("r{position}"),
        };
        (variable.display_name(position, at), rule_name)
    });
    let all: Vec<Label> = all.collect();
    // Two errors without a name have one label.
    let is_unique = |label: &&Label| all.iter().filter(|other| other.1 == label.1).count() == 1;
    all.iter().filter(is_unique).cloned().collect()
}

/// What an injected probe shows.
struct Shown<'p> {
    /// The arguments, with the words of the note that hold them.
    args: Vec<(&'p schema::Arg, Vec<&'p str>)>,
    /// The word with the goroutine id, if there is one.
    goid: Option<&'p str>,
    labels: &'p [Label],
}

impl<'p> Shown<'p> {
    fn of(probe: &'p Probe, labels: &'p [Label]) -> Shown<'p> {
        let mut words = argspec::split(&probe.args);
        let schema = probe.schema.as_ref();
        let args = schema.into_iter().flat_map(|schema| &schema.args);
        let args = args.map(|arg| (arg, words.by_ref().take(arg.kind.words()).collect())).collect();
        Shown { args, goid: words.next(), labels }
    }

    /// Returns the argument that a path of a function probe stands for. Its expression in the rule
    /// comes first. Its name counts if the function has nothing of this name.
    fn find(&self, path: &str, is_in_function: bool) -> Option<(&schema::Arg, &[&'p str])> {
        let names = self.labels.iter().map(|(known, rule)| (known.clone(), rule.as_str()));
        let wanted = with_source_name(path, names);
        let by_expression = self.args.iter().find(|(arg, _)| expression(arg) == wanted);
        let by_name =
            || self.args.iter().find(|(arg, _)| arg.name == path).filter(|_| !is_in_function);
        let (arg, words) = by_expression.or_else(by_name)?;
        Some((arg, words))
    }

    /// Returns all arguments, with the names that users of function probes know.
    fn renamed(&self) -> impl Iterator<Item = (schema::Arg, &[&'p str])> {
        self.args.iter().map(|(arg, words)| {
            let label = self.labels.iter().find(|(_, rule)| rule == expression(arg));
            let name = label.map_or(&arg.name, |(known, _)| known).clone();
            (schema::Arg { name, ..(*arg).clone() }, words.as_slice())
        })
    }
}

/// Returns the expression that an argument shows: its documentation, if it differs from the name.
fn expression(arg: &schema::Arg) -> &str {
    if arg.doc.is_empty() { &arg.name } else { &arg.doc }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::sample;
    use stapsdt::schema::Kind;

    fn injected(name: &str, symbol: &str) -> Arc<Probe> {
        let mut probe = sample::described(
            "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8",
            &[("key", Kind::String), ("path", Kind::Int), ("err", Kind::Int)],
        );
        probe.name = name.to_owned();
        probe.semaphore_offset = Some(0x10);
        let schema = probe.schema.as_mut().unwrap();
        schema.symbol = Some(symbol.to_owned());
        schema.args[1].doc = "r.URL.Path".to_owned();
        Arc::new(probe)
    }

    #[test]
    fn finds_probes_by_the_names_of_the_function_table() {
        let without_semaphore =
            Arc::new(Probe { semaphore_offset: None, ..(*injected("h__entry", "main.h")).clone() });
        let probes = InjectedProbes::of(&[
            injected("f__entry", "gopkg.in/yaml.v3.f"),
            injected("f__return", "gopkg.in/yaml.v3.f%return"),
            injected("g__entry", "main.g"),
            injected("g_2__entry", "main.g"),
            without_semaphore,
            Arc::new(sample::probe("")),
        ]);
        let name = |symbol: &str| probes.find(symbol).map(|probe| probe.name.clone());
        assert_eq!(name("gopkg.in/yaml%2ev3.f").as_deref(), Some("f__entry"));
        assert_eq!(name("gopkg.in/yaml.v3.f%return").as_deref(), Some("f__return"));
        assert_eq!(name("main.g"), None, "which of the two fires is not known");
        assert_eq!(name("main.h"), None);
        assert_eq!(name("main.f"), None);
    }

    #[test]
    fn finds_arguments_by_their_expressions() {
        let probe = injected("f__return", "main.f%return");
        let labels = [("ret1".to_owned(), "err".to_owned())];
        let shown = Shown::of(&probe, &labels);
        let words = |path: &str, in_function| {
            shown.find(path, in_function).map(|(_, words)| words.join(" "))
        };
        assert_eq!(words("key", true).as_deref(), Some("8@%rdi 8@%rsi"));
        assert_eq!(words("r.URL.Path", true).as_deref(), Some("8@%rdx"));
        assert_eq!(words("ret1", true).as_deref(), Some("8@%rcx"));
        assert_eq!(words("path", false).as_deref(), Some("8@%rdx"));
        assert_eq!(words("path", true), None, "the function has another `path`");
        assert_eq!(words("r.URL", false), None);
        assert_eq!(shown.goid, Some("8@%r8"));
        let names: Vec<String> = shown.renamed().map(|(arg, _)| arg.name).collect();
        assert_eq!(names, ["key", "path", "ret1"]);
    }

    proptest::proptest! {
        #[test]
        fn unescapes_any_name(plain in "[a-z./*() ]{0,12}", byte: u8, other: String) {
            let escaped: String = plain.bytes().map(|b| format!("%{b:02x}")).collect();
            proptest::prop_assert_eq!(unescaped(&escaped), plain.clone());
            proptest::prop_assert_eq!(unescaped(&plain), plain);
            let _ = unescaped(&format!("%{other}%{byte:x}"));
        }
    }
}
