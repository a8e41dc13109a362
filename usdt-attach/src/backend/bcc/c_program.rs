//! Custom BPF programs: C as bcc takes it, attached to the probes that it names.
//!
//! ```c
//! BPF_HASH(sizes, u64);
//! USDT(app, request__done) {
//!   sizes.atomic_increment(usdt_arg(app, request__done, size));
//!   return 0;
//! }
//! ```
//!
//! * `USDT(provider, probe)` starts the program of a probe. Its context is `ctx`.
//! * `usdt_arg(provider, probe, name)` is the value of an argument, at every site of the probe.
//! * `usdt_text(provider, probe, name, to, size)` copies a string and returns its length, or a
//!   negative error number.
//!
//! Argument names come from the schema, or are `argN`. `goid` is the goroutine id.
//!
//! In a PID namespace, `bpf_get_current_pid_tgid()` returns the ids of that namespace.

use super::BccHelper;
use super::source::access::{SiteAccess, Sites, accessors, identifier, prelude};
pub use super::tables::TableContents;
use super::tables::Tables;
use crate::backend::attach::NO_EXECUTABLES;
use crate::bpf::codegen::filter_prologue;
use crate::bpf::{Program, Transport};
use crate::discover::ScannedObject;
use crate::discover::select::{Selected, select};
use crate::error::{Error, ErrorKind, Result, Warning};
use crate::kernel::{Attached, LinkMethod, Maps, Mechanism, attach, detect, pid_namespace};
use crate::plan::{Access, Mode, Options, Plan, PlannedProbe, accesses};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The source of a custom program.
///
/// ```no_run
/// use usdt_attach::Target;
/// use usdt_attach::backend::bcc::BccHelper;
/// use usdt_attach::backend::bcc::c_program::CProgram;
/// use usdt_attach::plan::Options;
/// use usdt_attach::session::Mechanism;
///
/// # fn main() -> usdt_attach::Result<()> {
/// let source = "BPF_HASH(sizes, u64);
/// USDT(app, request__done) {
///   sizes.atomic_increment(usdt_arg(app, request__done, size));
///   return 0;
/// }";
/// let program = CProgram { name: "sizes.c", source };
/// let objects = Target::executable("/usr/bin/app").scan()?.objects;
/// let (mut program, _warnings) =
///     program.attach(&BccHelper::find()?, &objects, &Options::default(), Mechanism::Auto)?;
/// std::thread::sleep(std::time::Duration::from_secs(10));
/// program.detach();
/// for table in program.tables()? {
///     println!("{}: {} rows", table.name, table.rows.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CProgram<'a> {
    /// The name of the source file in the compiler's messages.
    pub name: &'a str,
    /// The C source.
    pub source: &'a str,
}

/// An attached [`CProgram`]. Dropping it detaches.
pub struct AttachedProgram {
    /// Declared first: links are dropped before the maps and programs that they use.
    attached: Option<Attached>,
    _maps: Maps,
    tables: Tables,
    diagnostics: String,
}

impl CProgram<'_> {
    /// Compiles the program and attaches it to the probes that it names. Also returns warnings:
    /// sites that are skipped, and arguments that cannot be read.
    ///
    /// The mode and the filter in `options` are ignored.
    ///
    /// # Errors
    ///
    /// The [kind](crate::error::ErrorKind) of the error is
    ///
    /// * `InvalidInput` when the program names no probe, or an argument that the probe does not have,
    /// * `NoMatch` when the target does not have a probe,
    /// * `Unsupported` when libbcc rejects the program (the message has its diagnostics), or when a
    ///   table has a type that is not supported,
    /// * `Permission` or `Kernel` when the kernel rejects a map, a program or a link.
    pub fn attach(
        &self,
        helper: &BccHelper,
        objects: &[ScannedObject],
        options: &Options,
        mechanism: Mechanism,
    ) -> Result<(AttachedProgram, Vec<Warning>)> {
        let globs: Vec<String> = named_probes(self.source)?
            .iter()
            .map(|probe| format!("{}:{}", probe.provider, probe.name))
            .collect();
        let selected = select(objects, &globs)?;
        let options =
            Options { mode: Mode::Count { by: Vec::new() }, filter: None, ..options.clone() };
        let (plan, warnings) = Plan::new(&selected, &options)?;
        let functions = functions(&plan);
        let sites = site_arguments(&plan, &selected, &options);
        let mut arguments: BTreeMap<String, BTreeMap<&str, Sites<'_>>> = BTreeMap::new();
        for (function, cookies) in &functions {
            let arguments = arguments.entry(function.clone()).or_default();
            for (cookie, accesses) in sites.iter().filter(|(cookie, _)| cookies.contains(cookie)) {
                for access in accesses {
                    arguments
                        .entry(access.name.as_str())
                        .or_default()
                        .push(SiteAccess { cookie: *cookie, access });
                }
            }
        }
        let code = blank_comments_and_strings(self.source);
        check_argument_names(&code, &arguments)?;
        check_pinned_tables(&code)?;
        let accessors =
            arguments.iter().map(|(function, sites)| accessors(function, sites)).collect();
        let build = Build { program: self, helper, accessors, plan: &plan, functions };
        let method = detect::link_method(mechanism);
        let has_absent_strings =
            sites.iter().any(|(_, all)| all.iter().any(|a| a.string.is_some() && a.fault_in));
        if has_absent_strings && detect::sleepable(method) {
            // A program that may sleep cannot use every helper and table, such as stacks.
            match build.attach(true, method) {
                Err(error) if matches!(error.kind(), ErrorKind::Kernel | ErrorKind::Permission) => {
                }
                result => return Ok((result?, warnings)),
            }
        }
        Ok((build.attach(false, method)?, warnings))
    }
}

/// What is needed to compile and attach a program.
struct Build<'a> {
    program: &'a CProgram<'a>,
    helper: &'a BccHelper,
    /// The functions with which the program reads arguments.
    accessors: String,
    plan: &'a Plan,
    /// The functions of the program, and the cookies of their sites.
    functions: BTreeMap<String, Vec<u32>>,
}

impl Build<'_> {
    fn attach(&self, sleepable: bool, method: LinkMethod) -> Result<AttachedProgram> {
        let namespace = pid_namespace::own()?;
        let mut whole = prelude(sleepable, namespace.as_ref());
        whole.push_str(&self.accessors);
        let CProgram { name, source } = self.program;
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(whole, "#line 1 \"{quoted}\"\n{source}");
        let compiled = self.helper.compile(&whole, &[])?;
        let tables = Tables::create(compiled.answer.tables)?;
        let mut bodies = compiled.answer.functions;
        let maps = Maps::create(self.plan, Transport::RingBuf, false)?;
        let executable = self.plan.executables.as_ref().and_then(|_| detect::executable_offsets());
        if self.plan.executables.is_some() && executable.is_none() {
            return Err(Error::unsupported(NO_EXECUTABLES));
        }
        let prologue = filter_prologue(self.plan, &maps.fds(), namespace, executable)?;
        let mut programs = Vec::new();
        for (function, cookies) in &self.functions {
            let name = format!("usdt__{function}");
            let Some(index) = bodies.iter().position(|body| body.name == name) else {
                return Err(Error::unsupported(format!(
                    "libbcc has compiled no program for `{function}`; check that no #if excludes its USDT(...)"
                )));
            };
            let body = tables.link(bodies.swap_remove(index))?;
            let code = [prologue.clone(), body].concat();
            programs.push(Program { cookies: cookies.clone(), code, sleepable });
        }
        let attached = Some(attach(self.plan, &programs, method)?);
        let diagnostics = compiled.diagnostics;
        Ok(AttachedProgram { attached, _maps: maps, tables, diagnostics })
    }
}

impl AttachedProgram {
    /// Detaches. The tables can still be read.
    pub fn detach(&mut self) {
        self.attached = None;
    }

    /// The compiler's warnings, often empty. Control characters are escaped, except newlines and
    /// tabs.
    pub fn diagnostics(&self) -> &str {
        &self.diagnostics
    }

    /// The contents of the program's tables, in the order of their declarations.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn tables(&self) -> Result<Vec<TableContents>> {
        self.tables.contents()
    }
}

/// The probes that a program names, each once, in order.
fn named_probes(source: &str) -> Result<Vec<PlannedProbe>> {
    let mut probes = Vec::new();
    for arguments in macro_calls(&blank_comments_and_strings(source), "USDT") {
        let [provider, name] = arguments.as_slice() else {
            return Err(Error::usage(format!(
                "`USDT({})` does not have the form USDT(provider, probe)",
                arguments.join(", ")
            )));
        };
        let probe = PlannedProbe { provider: provider.clone(), name: name.clone() };
        if !probes.contains(&probe) {
            probes.push(probe);
        }
    }
    if probes.is_empty() {
        return Err(Error::usage(
            "the program names no probe; start one with USDT(provider, probe) { ... }",
        ));
    }
    Ok(probes)
}

/// The arguments of each use of a macro.
fn macro_calls(code: &str, name: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(name) {
        let (before, from_name) = rest.split_at(at);
        rest = from_name.get(name.len()..).unwrap_or_default();
        let is_identifier_char = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let Some(arguments) =
            rest.trim_start().strip_prefix('(').filter(|_| !before.ends_with(is_identifier_char))
        else {
            continue;
        };
        let end = arguments.find(')').unwrap_or(arguments.len());
        let arguments = arguments.get(..end).unwrap_or_default();
        calls.push(arguments.split(',').map(|argument| argument.trim().to_owned()).collect());
    }
    calls
}

/// Rejects arguments that a probe does not have. The compiler would only report an unknown function.
fn check_argument_names(
    code: &str,
    probes: &BTreeMap<String, BTreeMap<&str, Sites<'_>>>,
) -> Result<()> {
    for function in ["usdt_arg", "usdt_text"] {
        for call in macro_calls(code, function) {
            let [provider, probe, name, ..] = call.as_slice() else { continue };
            let Some(arguments) = probes.get(&format!("{provider}__{probe}")) else {
                return Err(Error::usage(format!(
                    "{function}({}) refers to a probe that the program is not attached to; \
                     add USDT({provider}, {probe})",
                    call.join(", ")
                )));
            };
            let sites = arguments
                .iter()
                .find(|(known, _)| identifier(known) == *name)
                .map(|(_, sites)| sites);
            let Some(sites) = sites else {
                let known: Vec<&str> = arguments.keys().copied().collect();
                let known = if known.is_empty() {
                    "it has no arguments".to_owned()
                } else {
                    format!("it has {}", known.join(", "))
                };
                return Err(Error::usage(format!(
                    "{provider}:{probe} has no argument `{name}`; {known}"
                )));
            };
            if function == "usdt_text" && sites.iter().any(|site| site.access.string.is_none()) {
                return Err(Error::usage(format!(
                    "`{name}` of {provider}:{probe} is not a string; if it is a C string, pass \
                     --cstring {name}"
                )));
            }
        }
    }
    Ok(())
}

/// Rejects pinned tables: the compiler would pin the map that it creates, which is not the map that
/// the program uses.
fn check_pinned_tables(code: &str) -> Result<()> {
    let pinned = macro_calls(code, "BPF_TABLE_PINNED");
    let Some(name) = pinned.first().map(|arguments| arguments.get(3).map_or("", String::as_str))
    else {
        return Ok(());
    };
    Err(Error::usage(format!(
        "the table `{name}` is pinned, which is not supported; use BPF_TABLE instead of \
         BPF_TABLE_PINNED"
    )))
}

/// The program with each comment and string literal replaced by a space.
fn blank_comments_and_strings(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let consumed = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if c == '"' {
            let mut is_escaped = true;
            let end = rest.find(|c: char| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            });
            end.map_or(rest.len(), |at| at + 1)
        } else {
            out.push(c);
            c.len_utf8()
        };
        if consumed > c.len_utf8() {
            out.push(' ');
        }
        rest = rest.get(consumed..).unwrap_or_default();
    }
    out
}

/// The C functions of a plan's probes, and the cookies of the sites that run them.
fn functions(plan: &Plan) -> BTreeMap<String, Vec<u32>> {
    let mut functions: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for site in plan.sites() {
        if let Some(probe) = plan.probes.get(site.probe as usize) {
            let name = format!("{}__{}", identifier(&probe.provider), identifier(&probe.name));
            functions.entry(name).or_default().push(site.cookie);
        }
    }
    functions
}

/// How to read the arguments of each site, by cookie.
fn site_arguments(
    plan: &Plan,
    selected: &[Selected],
    options: &Options,
) -> Vec<(u32, Vec<Access>)> {
    let mut out = Vec::new();
    for object in &plan.objects {
        for site in &object.sites {
            let Some(probe) = plan.probes.get(site.probe as usize) else { continue };
            let is_site = |candidate: &&Selected| {
                candidate.object.id == object.id
                    && candidate.probe.address == site.address
                    && candidate.probe.provider == probe.provider
                    && candidate.probe.name == probe.name
            };
            if let Some(selected) = selected.iter().find(is_site) {
                out.push((site.cookie, accesses(&selected.probe, &options.strings)));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_probes_in_code_only() {
        let source = "// USDT(no, no)\n/* USDT(no, no) */ char *s = \"USDT(no, \\\"no)\";\n\
                      USDT(app, request__start) { return 0; }\nUSDT (app,\n  stop) {}\n\
                      MY_USDT(x, y) USDTX(a, b)";
        let probe = |provider: &str, name: &str| PlannedProbe {
            provider: provider.to_owned(),
            name: name.to_owned(),
        };
        let expected = [probe("app", "request__start"), probe("app", "stop")];
        assert_eq!(named_probes(source).unwrap(), expected);
        let error = |source: &str| named_probes(source).unwrap_err().to_string();
        assert!(error("int f() {}").contains("names no probe"));
        assert!(error("USDT(app) {}").contains("`USDT(app)`"));
    }

    #[test]
    fn rejects_pinned_tables() {
        assert!(check_pinned_tables("BPF_TABLE(\"hash\", u32, u64, plain, 1);").is_ok());
        let code = blank_comments_and_strings(
            "BPF_TABLE_PINNED(\"hash\", u32, u64, shared, 1, \"/sys/fs/bpf/shared\");",
        );
        let error = check_pinned_tables(&code).unwrap_err().to_string();
        assert!(error.starts_with("the table `shared` is pinned"), "{error}");
    }
}
