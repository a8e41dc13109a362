//! `usdt-attach export` and `usdt-attach agent`: run the exporter in the foreground and as a
//! service.

use super::args::{TargetArgs, report_entry_cost};
use super::attach::terminate;
use super::default_entries::add_default_entries;
use super::waiting::wait_or_fail;
use crate::hit_costs::HitCosts;
use crate::output::progress::Progress;
use crate::output::{check_write, text};
use crate::privileges::Needs;
use crate::signals::{INTERRUPTED_TWICE, cannot_catch};
use clap::Args;
use cli_common::{say, warn};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::time::Duration;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::select::select_if_any;
use usdt_attach::discover::{self, DebugFile, FunctionOptions, ScannedObject};
use usdt_attach::error::{Error, Result};
use usdt_attach::kernel::{site_changes, uprobe_warmup};
use usdt_attach::session::Mechanism;
use usdt_attach::target::{LeftOutChildren, PendingChild, ResolvedTarget, Target};
use usdt_export::config::{self, Config, Otlp, TargetConfig};
use usdt_export::time::parse_duration;
use usdt_export::{CommandLine, Exporter, ExporterHandle, Settings};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  usdt-attach export -p 1234 --prometheus 127.0.0.1:9464\n  \
                  usdt-attach export --exe ./app --otlp http://127.0.0.1:4318 'app:request-*'\n  \
                  usdt-attach export --exe ./app --config export.toml")]
pub(crate) struct ExportArgs {
    /// Probes to export if the configuration defines no entries: `provider:probe`, with wildcards
    /// `*` and `?` [default: all]. Each probe is counted, and each pair of a start and an end is
    /// measured; with --otlp, each pair is a span, too
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Exporter configuration (TOML), reloaded on SIGHUP
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve metrics to Prometheus at HOST:PORT; PORT alone is on the loopback interface, :PORT on
    /// all interfaces
    #[arg(long, value_name = "ADDRESS", value_parser = config::Prometheus::parse_address)]
    prometheus: Option<String>,
    /// TLS and users of the Prometheus endpoint (YAML, as for the exporters of Prometheus), reloaded
    /// on SIGHUP
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// Send metrics and spans to this OTLP/HTTP collector, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Read the arguments of function probes by the debug information (DWARF) in this file, for a
    /// stripped binary; may be repeated
    #[arg(long = "debug", value_name = "FILE")]
    debug_files: Vec<PathBuf>,
    /// Fail at once if a glob matches no probe yet, instead of waiting for a file that has one
    #[arg(long)]
    require_match: bool,
    /// Stop after this time, such as 10s, 500ms or 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Print the JSON schema of the configuration, and exit
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example configuration:\n  [prometheus]\n  listen = \"127.0.0.1:9464\"\n  [[count]]\n  \
                  probes = \"app:*\""
)]
pub(crate) struct AgentArgs {
    /// Exporter configuration (TOML), reloaded on SIGHUP; without [target] it applies to all
    /// processes
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Check the configuration, and exit
    #[arg(long)]
    check: bool,
}

impl ExportArgs {
    /// What the command needs; `None` if it starts a command.
    pub(crate) fn needs(&self) -> Option<Needs> {
        (!self.target.starts_command()).then_some(SERVICE)
    }
}

/// What a service needs: it follows its target and reloads its configuration as long as it runs.
pub(crate) const SERVICE: Needs = Needs {
    attaching: true,
    processes: true,
    listening: true,
    output_file: false,
    statistics: false,
    ending_a_command: false,
};

pub(crate) fn export(args: &ExportArgs) -> Result<()> {
    if args.schema {
        return check_write(cli_common::print(Config::schema().as_bytes()));
    }
    let mut config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let command_line = CommandLine {
        listen: args.prometheus.clone(),
        web_config_file: args.web_config_file.clone(),
        otlp: args.otlp.as_ref().map(Otlp::new),
        entries: config.is_empty(),
    };
    command_line.apply(&mut config)?;
    if config.prometheus.is_none() && config.otlp.is_none() {
        return Err(Error::usage(
            "nowhere to export to: pass --prometheus ADDRESS or --otlp URL, or add [prometheus] or [otlp] to the configuration",
        ));
    }
    config.check().map_err(Error::usage)?;
    config.check_files()?;
    if !config.is_empty() && !args.globs.is_empty() {
        return Err(Error::usage(format!(
            "the configuration defines its entries; leave out {}, or remove the entries",
            args.globs.join(" ")
        )));
    }
    let (target, configured) = match &config.target {
        Some(target) if !args.target.is_given() => {
            (configured_target(target)?, target.debug.clone())
        }
        _ => (args.target.target(&args.globs)?, Vec::new()),
    };
    let debug_files = match args.debug_files.is_empty() {
        true => configured,
        false => args.debug_files.clone(),
    };
    let run = Run {
        path: args.config.as_deref(),
        command_line,
        target,
        debug_files,
        default_globs: config.is_empty().then_some(args.globs.as_slice()),
        duration: args.duration,
        is_service: false,
        require_match: args.require_match,
        target_args: Some(&args.target),
    };
    run.export(config)
}

pub(crate) fn agent(args: &AgentArgs) -> Result<()> {
    let config = Config::read(&args.config)?;
    if config.is_empty() {
        return Err(Error::object(
            args.config.clone(),
            "nothing to export: add [[count]], [[hist]], [[latency]] or [[span]]",
        ));
    }
    if config.prometheus.is_none() && config.otlp.is_none() {
        return Err(Error::object(
            args.config.clone(),
            "nowhere to export to: add [prometheus] or [otlp]",
        ));
    }
    config.check_files()?;
    if args.check {
        return Ok(());
    }
    let run = Run {
        path: Some(&args.config),
        command_line: CommandLine::default(),
        target: config.target.as_ref().map_or(Ok(Target::Host), configured_target)?,
        debug_files: config.target.as_ref().map_or_else(Vec::new, |target| target.debug.clone()),
        default_globs: None,
        duration: None,
        is_service: true,
        require_match: false,
        target_args: None,
    };
    run.export(config)
}

fn configured_target(target: &TargetConfig) -> Result<Target> {
    Ok(match (&target.exe, &target.cgroup) {
        (Some(path), _) => Target::Executable(path.clone()),
        (_, Some(path)) => Target::Cgroup(path.clone()),
        _ if target.all => Target::Host,
        _ => return Target::pids(target.pids.iter().copied()),
    })
}

/// How to run the exporter, apart from its configuration.
struct Run<'a> {
    /// The configuration file, which SIGHUP reloads.
    path: Option<&'a Path>,
    command_line: CommandLine,
    target: Target,
    /// Files with the debug information of the target's programs.
    debug_files: Vec<PathBuf>,
    /// The probes to export if the configuration defines no entries; `None` if it does.
    default_globs: Option<&'a [String]>,
    duration: Option<Duration>,
    /// Whether to run until it is stopped, even if no process ever has the probes.
    is_service: bool,
    /// Whether to fail if a glob matches no probe yet.
    require_match: bool,
    /// The arguments that select the target; `None` for the agent.
    target_args: Option<&'a TargetArgs>,
}

impl Run<'_> {
    fn export(self, mut config: Config) -> Result<()> {
        uprobe_warmup::start();
        // Until something is attached, a signal that stops the exporter ends this process at once.
        let signals = Signals::new([SIGHUP]).map_err(cannot_catch)?;
        let progress = Progress::start("scanning for probes");
        let globs = self.default_globs.map_or_else(|| config.globs(), <[String]>::to_vec);
        let hit_costs = HitCosts::start_for(&globs);
        let mut resolved = self.target.resolve_selected(&globs)?;
        if let Some(args) = self.target_args {
            args.follow_children(&mut resolved)?;
        }
        let ResolvedTarget { objects: mut found, processes, child, children, warnings } = resolved;
        let debug_files = self.open_debug_files(&found)?;
        let options =
            FunctionOptions { debug_files: debug_files.clone(), ..config.function_options() };
        discover::add_functions(&mut found, &globs, &options);
        drop(progress);
        warn(warnings);
        warn(found.iter().flat_map(|f| &f.warnings));
        found.retain(|f| !f.probes.is_empty());
        // A service waits for a program even if nobody runs it.
        if !self.is_service || self.target.can_grow(&found) {
            wait_or_fail(&self.target, &found, &globs, self.require_match)?;
        }
        if let Some(globs) = self.default_globs {
            // Libraries are attached to when they are followed; their pairs are entries already.
            let mut known = self.target.libraries(&found)?.objects;
            known.extend_from_slice(&found);
            add_default_entries(&mut config, globs, &select_if_any(&known, globs));
        }
        config.check().map_err(Error::usage)?;
        report_entry_cost(&config.sites(&found), false, hit_costs);
        let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
        let files = found.len() as u64;
        let left_out = match (&children, &processes) {
            (None, Some(processes)) => LeftOutChildren::count_from(processes),
            _ => None,
        };
        let settings = Settings {
            config,
            path: self.path.map(Into::into),
            command_line: self.command_line,
            target: self.target,
            processes,
            children,
            found,
            debug_files,
            wait_for_probes: true,
            must_match: !self.is_service,
            duration: self.duration,
        };
        let mut print = |message: String| say(&message);
        let (handle, requests) = ExporterHandle::new();
        let signals_handle = signals.handle();
        for signal in [SIGINT, SIGTERM] {
            signals_handle.add_signal(signal).map_err(cannot_catch)?;
        }
        forward(signals, handle)?;
        let exporter = Exporter::start(settings, requests, &*backend, &mut print)?;
        let mut running = child.map(PendingChild::run).transpose()?;
        let endpoint =
            exporter.metrics_url().map_or(String::new(), |url| format!("; metrics at {url}"));
        say(&format!(
            "attached to {} in {}{endpoint}",
            text::with_unit(exporter.sites(), "site"),
            text::with_unit(files, "file")
        ));
        // Fails if the program was not started by systemd.
        let _ = sd_notify::notify(false, &[NotifyState::Ready]);
        let summary = exporter.run();
        let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
        signals_handle.close();
        if let Some(child) = &mut running {
            terminate(child);
        }
        let mut summary = summary?;
        if let Some(children) = left_out {
            summary.children_left_out = children.count()?;
        }
        say(&text::summary(summary));
        Ok(())
    }
}

impl Run<'_> {
    /// Opens the files with debug information. Each must belong to a program of the target, unless
    /// that program may be run later.
    fn open_debug_files(&self, found: &[ScannedObject]) -> Result<Vec<DebugFile>> {
        let files: Vec<DebugFile> =
            self.debug_files.iter().map(|path| DebugFile::open(path)).collect::<Result<_>>()?;
        match discover::check_debug_files(found, &files) {
            // The program may be one that does not run yet.
            Err(error)
                if self.is_service || matches!(self.target, Target::Host | Target::Cgroup(_)) =>
            {
                say(&format!(
                    "{error:#}; it is used for a program of that build that is run later"
                ));
            }
            other => other?,
        }
        Ok(files)
    }
}

/// Forwards signals to the exporter: SIGHUP reloads, and the others stop it. The second one that
/// stops it exits at once.
fn forward(mut signals: Signals, exporter: ExporterHandle) -> Result<()> {
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => exporter.reload(),
                _ if is_stopping => site_changes::exit(INTERRUPTED_TWICE),
                _ => {
                    is_stopping = true;
                    exporter.stop();
                }
            }
        }
    });
    thread.map(drop).map_err(|source| Error::io("cannot start a thread", source))
}
