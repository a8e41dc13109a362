//! Arguments that commands share.

use crate::output::progress::Progress;
use clap::{Args, ValueEnum};
use cli_common::{say, warn};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::select::{Selected, select};
use usdt_attach::discover::{self, ScannedObject, SchemaFile, Source};
use usdt_attach::error::{Error, Result};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::kernel::uprobe_warmup;
use usdt_attach::plan::{Method, Options};
use usdt_attach::target::{PendingChild, ProcessHandle, ResolvedTarget, Target};
use usdt_export::time::parse_duration;

/// What to trace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// Processes, separated by commas
    #[arg(short, long, value_name = "PID", value_delimiter = ',', conflicts_with_all = ["exe", "cgroup", "all", "command"])]
    pub(crate) pid: Vec<u32>,
    /// Every process of this file, present and future
    #[arg(long, value_name = "PATH", conflicts_with_all = ["cgroup", "all", "command"])]
    exe: Option<PathBuf>,
    /// Every process of this cgroup (v2) and those below, present and future
    #[arg(long, value_name = "PATH", conflicts_with_all = ["all", "command"])]
    cgroup: Option<PathBuf>,
    /// Every process, present and future
    #[arg(long, conflicts_with = "command")]
    all: bool,
    /// Command to start, from its first instruction
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Which hits, and for how long.
#[derive(Debug, Args)]
pub(crate) struct HitArgs {
    /// Only hits for which this holds, such as 'status >= 500 && path == "/api/*"'
    #[arg(long, value_name = "EXPR", value_parser = Filter::parse, help_heading = "Hits")]
    pub(crate) filter: Option<Filter>,
    /// Only one hit in so many, chosen at random
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Hits")]
    pub(crate) sample: Option<u32>,
    /// At most so many hits a second of each probe
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Hits")]
    pub(crate) rate: Option<u32>,
    /// Arguments that are C strings, where the binary does not say so: names or argN
    #[arg(long = "str", value_name = "ARG", value_delimiter = ',', help_heading = "Hits")]
    pub(crate) strings: Vec<String>,
    /// Names and types of arguments, for binaries that have none: the output of `usdt-gen schema`
    #[arg(long, value_name = "FILE", help_heading = "Hits")]
    pub(crate) schema: Option<PathBuf>,
    /// Stop after this time, such as 10s, 500ms, 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// JSON objects, one a line, the last one a summary
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what would be attached and stop; needs no privileges
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Attach to instructions other than no-ops, too; each hit costs tens of times more
    #[arg(long)]
    pub(crate) single_step: bool,
    /// How BPF code is made: generated directly (embedded), or compiled from C by libbcc in usdt-attach-bcc (bcc)
    #[arg(long, value_enum, default_value_t = Backend::Embedded)]
    backend: Backend,
}

/// How counts are kept and shown.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Count by the values of these: arguments, pid, tid, goid, comm; separated by commas
    #[arg(long, value_name = "ARG", value_delimiter = ',', value_parser = Subject::parse)]
    pub(crate) by: Vec<Subject>,
    /// Print the totals so far this often; on a terminal, in place
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) interval: Option<Duration>,
    /// Print only so many rows, those with the most hits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: Option<u32>,
    /// Most rows kept in the kernel; further ones are counted as dropped
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) keys: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Embedded,
    Bcc,
}

impl HitArgs {
    pub(crate) fn backend(&self) -> BackendKind {
        match self.backend {
            Backend::Embedded => BackendKind::Embedded,
            Backend::Bcc => BackendKind::Bcc,
        }
    }
}

/// A resolved target, the probes chosen in it, and the options to plan them with.
pub(crate) struct ResolvedArgs {
    pub(crate) target: Target,
    pub(crate) found: Vec<ScannedObject>,
    pub(crate) processes: Option<Vec<ProcessHandle>>,
    pub(crate) child: Option<PendingChild>,
    pub(crate) chosen: Vec<Selected>,
    /// For files that the target comes to run.
    pub(crate) schema: Option<SchemaFile>,
    pub(crate) options: Options,
}

impl HitArgs {
    /// Resolves the target and selects the probes that match the globs. `options` has what the command itself asks for.
    pub(crate) fn resolve(
        &self,
        target: &TargetArgs,
        globs: &[String],
        options: Options,
    ) -> Result<ResolvedArgs> {
        let target = target.target(globs)?;
        if !self.dry_run {
            uprobe_warmup::start();
        }
        let progress = Progress::of("looking for probes");
        let resolved = if self.dry_run { target.scan()? } else { target.resolve()? };
        let pids = resolved.pids();
        let ResolvedTarget { objects: mut found, processes, child } = resolved;
        let schema = self.schema.as_deref().map(SchemaFile::read).transpose()?;
        schema.iter().for_each(|s| s.apply(&mut found));
        discover::add_function_entries(&mut found, globs);
        drop(progress);
        warn(found.iter().flat_map(|f| f.warnings.clone()));
        let chosen = select(&found, globs)?;
        if chosen.is_empty() {
            return Err(Error::no_probes(target.to_string()));
        }
        if !self.dry_run {
            report_entry_cost(&chosen);
        }
        let options = Options {
            pids,
            cgroup: target.cgroup().map(Into::into),
            filter: self.filter.clone(),
            sample: self.sample,
            rate: self.rate,
            strings: self.strings.clone(),
            single_step: self.single_step,
            ..options
        };
        Ok(ResolvedArgs { target, found, processes, child, chosen, schema, options })
    }
}

/// What functions of Go begin with that kernels do themselves.
const ENTRY: Method = if cfg!(target_arch = "x86_64") { Method::Push } else { Method::Branch };

/// Reports what a hit of a function entry costs, before anything is attached: they are not compiled in, and no semaphore
/// gates them.
pub(crate) fn report_entry_cost(chosen: &[Selected]) {
    let mut entries = chosen.iter().filter(|s| s.probe.source == Source::Entry);
    let Some(first) = entries.next() else { return };
    let others = match entries.count() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let each = match usdt_attach::kernel::measure_hit_cost(ENTRY) {
        Ok(ns) => format!("about {ns:.0} ns here"),
        Err(_) => "a trap".to_owned(),
    };
    say(&format!(
        "note: {}{others} by function entries of a binary without these probes; each hit costs it {each}",
        first.probe.full_name()
    ));
}

impl TargetArgs {
    /// Whether there is one.
    pub(crate) fn given(&self) -> bool {
        !self.pid.is_empty()
            || self.exe.is_some()
            || self.cgroup.is_some()
            || self.all
            || !self.command.is_empty()
    }

    /// The target. `globs` may hold it where nothing else does, which the message says then.
    pub(crate) fn target(&self, globs: &[String]) -> Result<Target> {
        if let Some(path) = &self.exe {
            return Ok(Target::Executable(path.clone()));
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
            return Target::pids(self.pid.iter().copied());
        }
        let file = globs.iter().find(|glob| Path::new(glob).is_file());
        let pid = globs.iter().find(|glob| glob.parse::<u32>().is_ok());
        let meant = match (file, pid) {
            (Some(file), _) => {
                format!("; for a file that is --exe {file}, or -- {file} to start it")
            }
            (None, Some(pid)) => format!("; for a process that is -p {pid}"),
            (None, None) => String::new(),
        };
        Err(Error::usage(format!(
            "say what to trace: -p PID, --exe PATH, --cgroup PATH, --all or -- CMD{meant}"
        )))
    }
}
