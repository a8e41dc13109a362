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

use super::module::{Module, Table};
use super::need_headers;
use super::source::access::{Sites, accessors, identifier, prelude};
use super::values::{decode, sum};
use crate::backend::Mechanism;
use crate::bpf::codegen::prologue;
use crate::bpf::{Program, Transport};
use crate::discover::ScannedObject;
use crate::discover::select::{Selected, select};
use crate::error::{Error, Result};
use crate::kernel::{Attached, Maps, attach, detect, read_table};
use crate::plan::{Access, Mode, Options, Plan, accesses};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A program that runs. Dropping it detaches.
pub struct Running {
    // Links before the maps and programs they use.
    attached: Option<Attached>,
    _maps: Maps,
    module: Module,
    plan: Plan,
}

/// What a table holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// Its name in the program.
    pub name: String,
    /// Keys and values; of arrays only the values that are not zero.
    pub rows: Vec<(Value, Value)>,
    /// Why they are not here: it is no table of keys and values.
    pub omitted: bool,
}

/// The probes that a program names, provider and probe, in order.
pub fn named(text: &str) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for names in calls(&without_comments(text), "USDT") {
        let [provider, probe] = names.as_slice() else {
            return Err(Error::Usage(format!("`USDT({})` is not USDT(provider, probe)", names.join(", "))));
        };
        let names = (provider.clone(), probe.clone());
        if !out.contains(&names) {
            out.push(names);
        }
    }
    if out.is_empty() {
        let problem = "the program names no probe; begin one with USDT(provider, probe) { ... }";
        return Err(Error::Usage(problem.into()));
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
        let Some(inside) = rest.trim_start().strip_prefix('(').filter(|_| !before.ends_with(word)) else {
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
                return Err(Error::Usage(format!(
                    "{function}({}) is of a probe that the program does not attach to",
                    call.join(", ")
                )));
            };
            let sites =
                arguments.iter().find(|(known, _)| identifier(known) == *name).map(|(_, sites)| sites);
            let Some(sites) = sites else {
                let known: Vec<&str> = arguments.keys().copied().collect();
                let known = if known.is_empty() { "no arguments".to_owned() } else { known.join(", ") };
                return Err(Error::Usage(format!(
                    "{provider}:{probe} has no argument `{name}`, but {known}"
                )));
            };
            if function == "usdt_text" && sites.iter().any(|(_, access)| access.text.is_none()) {
                return Err(Error::Usage(format!(
                    "`{name}` of {provider}:{probe} is no text; where it is a C string, say --str {name}"
                )));
            }
        }
    }
    Ok(())
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

/// Compiles a program and attaches it to the probes that it names. `name` is what the compiler calls it.
pub fn start(
    name: &str,
    text: &str,
    found: &[ScannedObject],
    options: &Options,
    mechanism: Mechanism,
) -> Result<(Running, Vec<String>)> {
    need_headers()?;
    let named = named(text)?;
    let globs: Vec<String> = named.iter().map(|(provider, probe)| format!("{provider}:{probe}")).collect();
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
    check_names(&without_comments(text), &all)?;
    let mut whole = prelude();
    whole.extend(all.iter().map(|(function, arguments)| accessors(function, arguments)));
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = write!(whole, "#line 1 \"{quoted}\"\n{text}");
    let module = Module::compile(&whole)?;
    let maps = Maps::create(&plan, Transport::RingBuf)?;
    let head = prologue(&plan, &maps.fds())?;
    let mut programs = Vec::new();
    for (function, cookies) in functions {
        let Some(body) = module.function(&format!("usdt__{function}")) else {
            return Err(Error::Backend(format!("libbcc has compiled no program for {function}")));
        };
        programs.push(Program { cookies, code: [head.clone(), body].concat() });
    }
    let attached = attach(&plan, &programs, detect::link_method(mechanism))?;
    Ok((Running { attached: Some(attached), _maps: maps, module, plan }, warnings))
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

    /// What the program's tables hold.
    pub fn tables(&self) -> Result<Vec<Contents>> {
        self.module.tables().iter().map(|table| contents(&self.module, table)).collect()
    }
}

fn contents(module: &Module, table: &Table) -> Result<Contents> {
    let Some(entries) = read_table(&module.map(table)?)? else {
        return Ok(Contents { name: table.name.clone(), rows: Vec::new(), omitted: true });
    };
    let rows = entries.into_iter().map(|(key, values)| {
        let mut values: Vec<Value> = values.iter().map(|v| decode(&table.value_type, v)).collect();
        let value = if values.len() == 1 { values.remove(0) } else { sum(values) };
        (decode(&table.key_type, &key), value)
    });
    Ok(Contents { name: table.name.clone(), rows: rows.collect(), omitted: false })
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
}
