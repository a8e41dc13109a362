//! Arguments that several commands share.

use super::process_arg::{self, ProcessArg};
use super::waiting::wait_or_fail;
use crate::hit_costs::HitCosts;
use crate::output::progress::Progress;
use crate::privileges::Needs;
use clap::{Args, ValueEnum};
use cli_common::{say, warn};
use indexmap::IndexSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::select::{Selected, select, select_if_any};
use usdt_attach::discover::{self, DebugFile, RuntimeEntries, ScannedObject, SchemaFile, Source};
use usdt_attach::error::{Error, Result};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::kernel::uprobe_warmup;
use usdt_attach::plan::{Method, Options};
use usdt_attach::target::{Libraries, PendingChild, ProcessHandle, ResolvedTarget, Target};
use usdt_export::time::parse_duration;

/// The processes to trace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// Trace these processes: PIDs, or names as of pidof(8), separated by commas
    #[arg(short, long, value_name = "PID|NAME", value_delimiter = ',', conflicts_with_all = ["exe", "cgroup", "all", "command"])]
    pub(crate) pid: Vec<ProcessArg>,
    /// Trace all present and future processes of this executable; may be repeated
    #[arg(long, value_name = "PATH", conflicts_with_all = ["cgroup", "all", "command"])]
    exe: Vec<PathBuf>,
    /// Trace all present and future processes of this cgroup (v2) and its descendants
    #[arg(long, value_name = "PATH", conflicts_with_all = ["all", "command"])]
    cgroup: Option<PathBuf>,
    /// Trace all present and future processes of this host
    #[arg(long, conflicts_with = "command")]
    all: bool,
    /// Also trace the children of the processes, from their first instruction; the default for a
    /// command
    #[arg(long, overrides_with = "no_children", conflicts_with_all = ["exe", "cgroup", "all"])]
    children: bool,
    /// Trace only the command itself, and end with it
    #[arg(long, overrides_with = "children", conflicts_with_all = ["exe", "cgroup", "all"])]
    no_children: bool,
    /// Start this command and trace it from its first instruction
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Options of every command that attaches: filters, argument types, limits and output.
#[derive(Debug, Args)]
pub(crate) struct HitArgs {
    /// Keep only hits that match, such as 'status >= 500'
    #[arg(long, value_name = "EXPR", value_parser = Filter::parse, help_heading = "Filtering and sampling")]
    pub(crate) filter: Option<Filter>,
    /// Keep one hit in N, chosen at random
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Filtering and sampling")]
    pub(crate) sample: Option<u32>,
    /// Keep at most N hits per second of each probe
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Filtering and sampling")]
    pub(crate) rate: Option<u32>,
    /// Read these integer arguments as C strings: names or argN, separated by commas
    #[arg(
        long = "cstring",
        value_name = "ARG",
        value_delimiter = ',',
        help_heading = "Argument types"
    )]
    pub(crate) strings: Vec<String>,
    /// Read these arguments of function probes: paths such as r.URL.Path, items[0].ID or
    /// err.(*fs.PathError).Path, or NAME=PATH; may be repeated
    #[arg(long = "arg", value_name = "PATH", help_heading = "Argument types")]
    pub(crate) args: Vec<String>,
    /// Read the arguments of function probes by the debug information (DWARF) in this file, for a
    /// stripped binary; may be repeated
    #[arg(long = "debug", value_name = "FILE", help_heading = "Argument types")]
    pub(crate) debug_files: Vec<PathBuf>,
    /// Read argument names and types from a file that `usdt-gen schema` wrote; those of known
    /// providers are built in
    #[arg(long, value_name = "FILE", help_heading = "Argument types")]
    pub(crate) schema: Option<PathBuf>,
    /// Fail at once if a glob matches no probe yet, instead of waiting for a file that has one
    #[arg(long)]
    pub(crate) require_match: bool,
    /// Stop after this time, such as 10s, 500ms or 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Print JSON, one object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what would be attached, and exit; needs no privileges
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Attach to instructions other than NOPs, too; each hit costs tens of times more
    #[arg(long)]
    pub(crate) single_step: bool,
    /// Generate BPF code directly (embedded), or compile C with libbcc (bcc)
    #[arg(long, value_enum, default_value_t = Backend::Embedded)]
    backend: Backend,
}

/// Options of the commands that aggregate hits in the kernel.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Group by these: arguments, pid, tid, goid or comm, separated by commas
    #[arg(long, value_name = "ARG", value_delimiter = ',', value_parser = Subject::parse)]
    pub(crate) by: Vec<Subject>,
    /// Print the totals so far at this interval; a terminal is redrawn in place
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) interval: Option<Duration>,
    /// Print only the N rows with the most hits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: Option<u32>,
    /// Keep at most N rows in the kernel; hits beyond them are counted as dropped
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) max_keys: u32,
}

// The variants have no doc comments, because these would switch `--help` to its long form.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Embedded,
    Bcc,
}

/// A resolved target, the probes selected in it, and the options to plan them with.
pub(crate) struct ResolvedArgs {
    pub(crate) target: Target,
    pub(crate) found: Vec<ScannedObject>,
    /// The processes, if the target names them one by one.
    pub(crate) processes: Option<Vec<ProcessHandle>>,
    /// The command to start, stopped before its first instruction.
    pub(crate) child: Option<PendingChild>,
    pub(crate) selected: Vec<Selected>,
    /// Also describes the probes of files that the target runs later.
    pub(crate) schema: Option<SchemaFile>,
    pub(crate) options: Options,
}

impl HitArgs {
    /// What attaching with these options needs; `None` if it starts another program, a command or
    /// the compiler of `--backend bcc`.
    pub(crate) fn needs(&self, target: &TargetArgs) -> Option<Needs> {
        let starts_program = target.starts_command() || matches!(self.backend, Backend::Bcc);
        let needs = Needs { attaching: !self.dry_run, processes: true, ..Needs::default() };
        (self.dry_run || !starts_program).then_some(needs)
    }

    pub(crate) fn backend(&self) -> BackendKind {
        match self.backend {
            Backend::Embedded => BackendKind::Embedded,
            Backend::Bcc => BackendKind::Bcc,
        }
    }

    /// Resolves the target and selects the probes that match the globs. `options` holds the
    /// settings of the command itself; the flags of `self` are added to them.
    ///
    /// If `waits`, globs may match nothing yet, as long as the target can get other files.
    pub(crate) fn resolve(
        &self,
        args: &TargetArgs,
        globs: &[String],
        options: Options,
        waits: bool,
    ) -> Result<ResolvedArgs> {
        let target = args.target(globs)?;
        if !self.dry_run {
            uprobe_warmup::start();
        }
        let hit_costs = (!self.dry_run).then(|| HitCosts::start_for(globs));
        let progress = Progress::start("scanning for probes");
        let mut resolved = match self.dry_run {
            true => target.scan()?,
            false => target.resolve_selected(globs)?,
        };
        if !self.dry_run {
            args.follow_children(&mut resolved)?;
        }
        let pids = resolved.pids();
        let ResolvedTarget { objects: mut found, processes, child, children, warnings } = resolved;
        let schema = self.schema.as_deref().map(SchemaFile::read).transpose()?;
        // Other commands attach to libraries while they run.
        let mut executables = None;
        if self.dry_run || !waits {
            let links_libraries = target.links_libraries();
            let libraries = match self.dry_run {
                true if links_libraries => target.readable_libraries(&found)?,
                true => Libraries::default(),
                false => target.libraries(&found)?,
            };
            if links_libraries {
                report_left_out_libraries(&target, &libraries);
            }
            executables = libraries.executables;
            found.extend(libraries.objects);
        }
        schema.iter().for_each(|s| s.apply(&mut found));
        let debug_files = open_debug_files(&self.debug_files, &found)?;
        let (filter, args) = (self.filter.clone(), self.args.clone());
        let (sample, rate) = (self.sample, self.rate);
        let options = Options { filter, args, debug_files, sample, rate, ..options };
        discover::add_functions(&mut found, globs, &options.function_options());
        drop(progress);
        warn(warnings);
        warn(found.iter().flat_map(|f| &f.warnings));
        let selected = select_if_any(&found, globs);
        if selected.is_empty() && globs.is_empty() {
            report_runtime_entries(&found, "pass the glob 'go:*'");
        }
        if self.dry_run || !waits {
            // The libraries are among what was found.
            select(&found, globs)?;
            if selected.is_empty() {
                return Err(Error::no_probes(target.to_string()));
            }
        } else {
            wait_or_fail(&target, &found, globs, self.require_match)?;
        }
        if let Some(costs) = hit_costs {
            report_entry_cost(&options.choose_sites(&selected), self.single_step, costs);
        }
        let options = Options {
            pids,
            executables,
            children,
            cgroup: target.cgroup().map(Into::into),
            strings: self.strings.clone(),
            single_step: self.single_step,
            ..options
        };
        Ok(ResolvedArgs { target, found, processes, child, selected, schema, options })
    }
}

/// Opens files with debug information, each of which must belong to one of the binaries.
pub(crate) fn open_debug_files(
    paths: &[PathBuf],
    found: &[ScannedObject],
) -> Result<Vec<DebugFile>> {
    let files: Vec<DebugFile> =
        paths.iter().map(|path| DebugFile::open(path)).collect::<Result<_>>()?;
    discover::check_debug_files(found, &files)?;
    Ok(files)
}

/// Says which libraries a command leaves out that does not follow its target.
fn report_left_out_libraries(target: &Target, libraries: &Libraries) {
    say(match (target, libraries.objects.as_slice()) {
        (Target::Command(_), _) => {
            "note: probes of its libraries are left out: they are known once the command runs"
        }
        (_, []) => {
            "note: probes of its libraries are left out: they are known once a process that you may read runs the file"
        }
        _ => "note: libraries are those that its processes map now; ones loaded later are left out",
    });
}

/// Prints the cost per hit if function entries are selected, before anything is attached.
///
/// Function entries are not compiled in and have no semaphore, so each call of the function is a
/// hit. Entries that the kernel single-steps cost tens of times more, and are left out without
/// `single_step`.
pub(crate) fn report_entry_cost(selected: &[Selected], single_step: bool, mut costs: HitCosts) {
    let of_source = |source| selected.iter().filter(move |s| s.probe.source == source);
    let entries = of_source(Source::Entry);
    let (stepped, emulated): (Vec<&Selected>, Vec<&Selected>) =
        entries.partition(|s| s.probe.is_single_stepped());
    let mut measure = |method| match costs.of(method) {
        Ok(ns) => format!("about {ns:.0} ns per hit on this machine"),
        Err(_) => "one trap per hit".to_owned(),
    };
    if let Some(names) = names_of(&emulated) {
        // The branch of a stack check costs the same as a push.
        let cost = measure(Method::Branch);
        say(&format!(
            "note: attaching to function entries, as the binary has no such probes: {names}; {cost}"
        ));
    }
    if let Some(names) = names_of(&stepped).filter(|_| single_step) {
        let cost = measure(Method::SingleStep);
        say(&format!(
            "note: single-stepping function entries without a stack check: {names}; {cost}"
        ));
    }
    let injected: Vec<&Selected> = selected.iter().filter(|s| s.probe.injected.is_some()).collect();
    if let Some(names) = names_of(&injected) {
        let used = injected.iter().filter_map(|s| s.probe.injected.clone()).collect();
        let used = first_and_others(&used).unwrap_or_default();
        say(&format!("note: using injected probes for {names}: {used}"));
    }
    let functions: Vec<&Selected> = of_source(Source::Function).collect();
    if let Some(names) = names_of(&functions) {
        let (stepped, emulated): (Vec<&Selected>, Vec<&Selected>) =
            functions.iter().partition(|s| s.probe.is_single_stepped());
        let mut cost = |sites: &[&Selected], method, what| {
            (!sites.is_empty()).then(|| format!("{} {what}", measure(method)))
        };
        let costs = [
            cost(&emulated, Method::Push, "at entries"),
            cost(&stepped, Method::SingleStep, single_stepped_sites(&stepped)),
        ];
        let costs: Vec<String> = costs.into_iter().flatten().collect();
        say(&format!("note: attaching to functions: {names}; {}", costs.join(", ")));
    }
}

/// Says which sites of functions the kernel single-steps.
fn single_stepped_sites(stepped: &[&Selected]) -> &'static str {
    let returns = stepped.iter().filter(|s| s.probe.is_function_return()).count();
    match (returns, stepped.len() - returns) {
        (_, 0) => "at returns, which are single-stepped",
        (0, _) => "at entries without a stack check, which are single-stepped",
        _ => "at returns and at entries without a stack check, which are single-stepped",
    }
}

/// Hints at the function entries of the first Go binary without probes of the runtime, or says why
/// it has none. `what_to_do` says how to name them.
pub(crate) fn report_runtime_entries(found: &[ScannedObject], what_to_do: &str) {
    // The executable comes first; a library can be a Go binary, too.
    match found.iter().find_map(discover::runtime_entries) {
        Some(RuntimeEntries::Probes(count)) if count > 0 => {
            say(&format!("hint: this Go binary has {count} runtime probes: {what_to_do}"));
        }
        Some(RuntimeEntries::None(reason)) => {
            say(&format!("hint: this Go binary has no runtime probes: {reason}"));
        }
        _ => {}
    }
}

/// Returns the name of the first probe and the number of others; `None` if there is none.
fn names_of(selected: &[&Selected]) -> Option<String> {
    first_and_others(&selected.iter().map(|s| s.probe.full_name()).collect())
}

/// Returns the first name and the number of others; `None` if there is none.
fn first_and_others(names: &IndexSet<String>) -> Option<String> {
    let others = match names.len().saturating_sub(1) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    Some(format!("{}{others}", names.first()?))
}

impl TargetArgs {
    /// Whether the target is a command to start.
    pub(crate) fn starts_command(&self) -> bool {
        !self.command.is_empty()
    }

    /// Whether the command line names a target.
    pub(crate) fn is_given(&self) -> bool {
        !self.pid.is_empty()
            || !self.exe.is_empty()
            || self.cgroup.is_some()
            || self.all
            || !self.command.is_empty()
    }

    /// Follows the children of the target's processes, if that is requested or the default.
    pub(crate) fn follow_children(&self, resolved: &mut ResolvedTarget) -> Result<()> {
        if self.children {
            resolved.follow_children()?;
        } else if self.starts_command() && !self.no_children {
            resolved.try_follow_children();
        }
        Ok(())
    }

    /// The target of the command line. Without one, the error suggests how to pass a glob that
    /// looks like a file or a PID.
    pub(crate) fn target(&self, globs: &[String]) -> Result<Target> {
        match self.exe.as_slice() {
            [] => {}
            [path] => return Ok(Target::Executable(path.clone())),
            paths => return Ok(Target::Executables(paths.to_vec())),
        }
        if let Some(path) = &self.cgroup {
            return Ok(Target::Cgroup(path.clone()));
        }
        if self.all {
            return Ok(Target::Host);
        }
        if !self.command.is_empty() {
            return Ok(Target::Command(self.command.clone()));
        }
        if !self.pid.is_empty() {
            return Target::pids(process_arg::pids(&self.pid)?);
        }
        let file = globs.iter().find(|glob| Path::new(glob).is_file());
        let pid = globs.iter().find(|glob| glob.parse::<u32>().is_ok());
        let suggestion = match (file, pid) {
            (Some(file), _) => {
                format!("; for the file `{file}`, pass --exe {file}, or -- {file} to start it")
            }
            (None, Some(pid)) => format!("; for process {pid}, pass -p {pid}"),
            (None, None) => String::new(),
        };
        Err(Error::usage(format!(
            "no target: pass -p PID|NAME, --exe PATH, --cgroup PATH, --all or -- CMD{suggestion}"
        )))
    }
}
