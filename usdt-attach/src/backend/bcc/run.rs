//! A user's own program: C as bcc takes it, attached to the probes it names.
//!
//! ```c
//! BPF_HASH(sizes, u64);
//! USDT(app, request__done) {
//!   sizes.atomic_increment(usdt_arg(app, request__done, size));
//!   return 0;
//! }
//! ```
//!
//! `USDT(provider, probe)` begins the program of a probe, with `ctx`. `usdt_arg(provider, probe, name)` is an
//! argument's value, at every site of the probe; `usdt_text(provider, probe, name, to, size)` copies text and gives
//! its length, or a negative error number. Names are the schema's, or `argN`; `goid` is the goroutine's id.

use super::BccHelper;
use super::source::access::{Sites, accessors, identifier, prelude};
pub use super::tables::Contents;
use super::tables::Tables;
use crate::backend::Mechanism;
use crate::bpf::codegen::filter_prologue;
use crate::bpf::{Program, Transport};
use crate::discover::ScannedObject;
use crate::discover::select::{Selected, select};
use crate::error::{Error, Result, Warning};
use crate::kernel::{Attached, Maps, attach, detect};
use crate::plan::{Access, Mode, Options, Plan, accesses};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A program that runs. Dropping it detaches.
pub struct Running {
    // Links before the maps and programs they use.
    attached: Option<Attached>,
    _maps: Maps,
    tables: Tables,
    plan: Plan,
    diagnostics: String,
}

/// The probes that a program names, provider and probe, in order.
pub fn named(text: &str) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for names in calls(&without_comments(text), "USDT") {
        let [provider, probe] = names.as_slice() else {
            return Err(Error::usage(format!(
                "`USDT({})` is not USDT(provider, probe)",
                names.join(", ")
            )));
        };
        let names = (provider.clone(), probe.clone());
        if !out.contains(&names) {
            out.push(names);
        }
    }
    if out.is_empty() {
        let problem = "the program names no probe; begin one with USDT(provider, probe) { ... }";
        return Err(Error::usage(problem));
    }
    Ok(out)
}

/// What stands in the parentheses behind a name, wherever it is used.
fn calls(code: &str, name: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(name) {
        let (before, tail) = rest.split_at(at);
        rest = tail.get(name.len()..).unwrap_or_default();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let Some(inside) = rest.trim_start().strip_prefix('(').filter(|_| !before.ends_with(word))
        else {
            continue;
        };
        let end = inside.find(')').unwrap_or(inside.len());
        let inside = inside.get(..end).unwrap_or_default();
        out.push(inside.split(',').map(|part| part.trim().to_owned()).collect());
    }
    out
}

/// Arguments that the program asks for and the probe does not have: the compiler would explain them badly.
fn check_names(code: &str, accessors: &BTreeMap<String, BTreeMap<&str, Sites<'_>>>) -> Result<()> {
    for function in ["usdt_arg", "usdt_text"] {
        for call in calls(code, function) {
            let [provider, probe, name, ..] = call.as_slice() else { continue };
            let Some(arguments) = accessors.get(&format!("{provider}__{probe}")) else {
                return Err(Error::usage(format!(
                    "{function}({}) is of a probe that the program does not attach to",
                    call.join(", ")
                )));
            };
            let sites = arguments
                .iter()
                .find(|(known, _)| identifier(known) == *name)
                .map(|(_, sites)| sites);
            let Some(sites) = sites else {
                let known: Vec<&str> = arguments.keys().copied().collect();
                let known =
                    if known.is_empty() { "no arguments".to_owned() } else { known.join(", ") };
                return Err(Error::usage(format!(
                    "{provider}:{probe} has no argument `{name}`, but {known}"
                )));
            };
            if function == "usdt_text" && sites.iter().any(|(_, access)| access.string.is_none()) {
                return Err(Error::usage(format!(
                    "`{name}` of {provider}:{probe} is no text; where it is a C string, say --cstring {name}"
                )));
            }
        }
    }
    Ok(())
}

/// The compiler would pin the map that it creates, which is not the map that the program uses.
fn check_pins(code: &str) -> Result<()> {
    let pinned = calls(code, "BPF_TABLE_PINNED");
    let Some(name) = pinned.first().map(|arguments| arguments.get(3).map_or("", String::as_str))
    else {
        return Ok(());
    };
    Err(Error::usage(format!(
        "the table `{name}` is pinned (BPF_TABLE_PINNED), which programs cannot have here"
    )))
}

/// The program with comments and texts blanked out.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if c == '"' {
            let mut escaped = true;
            let end = rest.find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |at| at + 1)
        } else {
            out.push(c);
            c.len_utf8()
        };
        if taken > c.len_utf8() {
            out.push(' ');
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// Has a program compiled and attaches it to the probes that it names. `name` is its name in the compiler's messages.
/// Also returns warnings: sites that cannot be attached to, arguments that cannot be read.
///
/// # Errors
///
/// Fails with [`Error::usage`] where the program names no probe or asks for an argument that a probe does not have,
/// [`ErrorKind::NoMatch`](crate::error::ErrorKind::NoMatch) where the target does not have a probe; `Unsupported` where
/// libbcc rejects the program, with what the compiler says, or where a table is of a kind that is not supported;
/// `Permission` or `Kernel` where the kernel rejects a map, a program or a link.
pub fn start(
    helper: &BccHelper,
    name: &str,
    text: &str,
    found: &[ScannedObject],
    options: &Options,
    mechanism: Mechanism,
) -> Result<(Running, Vec<Warning>)> {
    let named = named(text)?;
    let globs: Vec<String> =
        named.iter().map(|(provider, probe)| format!("{provider}:{probe}")).collect();
    let chosen = select(found, &globs)?;
    let options = Options { mode: Mode::Count { by: Vec::new() }, filter: None, ..options.clone() };
    let (plan, warnings) = Plan::new(&chosen, &options)?;
    let functions = functions(&plan);
    let sites = sites(&plan, &chosen, &options);
    let mut all: BTreeMap<String, BTreeMap<&str, Sites<'_>>> = BTreeMap::new();
    for (function, cookies) in &functions {
        let arguments = all.entry(function.clone()).or_default();
        for (cookie, accesses) in sites.iter().filter(|(cookie, _)| cookies.contains(cookie)) {
            for access in accesses {
                arguments.entry(access.name.as_str()).or_default().push((*cookie, access));
            }
        }
    }
    let code = without_comments(text);
    check_names(&code, &all)?;
    check_pins(&code)?;
    let mut whole = prelude();
    whole.extend(all.iter().map(|(function, arguments)| accessors(function, arguments)));
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = write!(whole, "#line 1 \"{quoted}\"\n{text}");
    let compiled = helper.compile(&whole, &[])?;
    let tables = Tables::create(compiled.answer.tables)?;
    let mut compiled_functions = compiled.answer.functions;
    let maps = Maps::create(&plan, Transport::RingBuf)?;
    let head = filter_prologue(&plan, &maps.fds())?;
    let mut programs = Vec::new();
    for (function, cookies) in functions {
        let name = format!("usdt__{function}");
        let Some(at) = compiled_functions.iter().position(|compiled| compiled.name == name) else {
            return Err(Error::unsupported(format!(
                "libbcc has compiled no program for {function}"
            )));
        };
        let body = tables.link(compiled_functions.swap_remove(at))?;
        programs.push(Program { cookies, code: [head.clone(), body].concat() });
    }
    let attached = attach(&plan, &programs, detect::link_method(mechanism))?;
    let diagnostics = compiled.diagnostics;
    Ok((Running { attached: Some(attached), _maps: maps, tables, plan, diagnostics }, warnings))
}

/// The functions of a plan's probes, and the cookies of the sites that call them.
fn functions(plan: &Plan) -> BTreeMap<String, Vec<u32>> {
    let mut out: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for site in plan.sites() {
        if let Some(probe) = plan.probes.get(site.probe as usize) {
            let name = format!("{}__{}", identifier(&probe.provider), identifier(&probe.name));
            out.entry(name).or_default().push(site.cookie);
        }
    }
    out
}

/// How each site's arguments are read.
fn sites(plan: &Plan, chosen: &[Selected], options: &Options) -> Vec<(u32, Vec<Access>)> {
    let mut out = Vec::new();
    for object in &plan.objects {
        for site in &object.sites {
            let probe = plan.probes.get(site.probe as usize);
            let same_name = |c: &Selected| {
                probe.is_some_and(|p| p.provider == c.probe.provider && p.name == c.probe.name)
            };
            let is_it = |c: &&Selected| {
                c.object.id == object.object.id && c.probe.address == site.address && same_name(c)
            };
            if let Some(one) = chosen.iter().find(is_it) {
                out.push((site.cookie, accesses(&one.probe, &options.strings)));
            }
        }
    }
    out
}

impl Running {
    /// What it is attached to.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Detaches; tables can still be read.
    pub fn stop(&mut self) {
        self.attached = None;
    }

    /// What the compiler said of a program that it has compiled: its warnings, often nothing. Lines without control
    /// characters.
    pub fn diagnostics(&self) -> &str {
        &self.diagnostics
    }

    /// What the program's tables hold.
    ///
    /// # Errors
    ///
    /// Fails where the kernel rejects reading a map.
    pub fn tables(&self) -> Result<Vec<Contents>> {
        self.tables.contents()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_named_in_code_alone() {
        let text = "// USDT(no, no)\n/* USDT(no, no) */ char *s = \"USDT(no, \\\"no)\";\n\
                    USDT(app, request__start) { return 0; }\nUSDT (app,\n  stop) {}\nMY_USDT(x, y) USDTX(a, b)";
        let names = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(named(text).unwrap(), names(&[("app", "request__start"), ("app", "stop")]));
        assert!(named("int f() {}").unwrap_err().to_string().contains("names no probe"));
        assert!(named("USDT(app) {}").unwrap_err().to_string().contains("`USDT(app)`"));
    }

    #[test]
    fn pinned_tables_are_an_error() {
        assert!(check_pins("BPF_TABLE(\"hash\", u32, u64, plain, 1);").is_ok());
        let code = without_comments(
            "BPF_TABLE_PINNED(\"hash\", u32, u64, shared, 1, \"/sys/fs/bpf/shared\");",
        );
        let error = check_pins(&code).unwrap_err().to_string();
        assert!(error.starts_with("the table `shared` is pinned"), "{error}");
    }
}
