//! `usdt-attach export` and `usdt-attach agent`.

use super::args::{TargetArgs, report_entry_cost};
use super::attach::finish;
use crate::output::progress::Progress;
use crate::output::text;
use crate::output::written;
use crate::signals::INTERRUPTED_TWICE;
use clap::Args;
use cli_common::{escape, say, warn};
use indexmap::IndexMap;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover;
use usdt_attach::discover::select::{Selected, select_if_any};
use usdt_attach::error::{Error, Result};
use usdt_attach::kernel::uprobe_warmup;
use usdt_attach::session::Mechanism;
use usdt_attach::target::{PendingChild, ResolvedTarget, Target};
use usdt_export::config::{Config, Count, Latency, Otlp, Prometheus, Span, TargetConfig};
use usdt_export::pairs;
use usdt_export::time::parse_duration;
use usdt_export::{Exporter, Message, Settings};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  usdt-attach export -p 1234 --prometheus 127.0.0.1:9464     everything, counted and timed\n  \
                  usdt-attach export --exe ./app --otlp http://127.0.0.1:4318 'app:request-*'\n  \
                  usdt-attach export --exe ./app --config export.toml"
)]
pub(crate) struct ExportArgs {
    /// Probes: `provider:probe`, with `*` and `?` [default: all]. Hits are counted, times from starts to ends measured and,
    /// for a collector, made spans. Where the configuration names none
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// What is exported, whom of and where to; SIGHUP reads it again
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for Prometheus to scrape, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    prometheus: Option<String>,
    /// Collector that takes OTLP over HTTP, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Stop after this time, such as 10s, 500ms, 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Print the JSON schema of configurations, for editors, and stop
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A configuration of four lines:\n  [prometheus]\n  listen = \"127.0.0.1:9464\"\n  [[count]]\n  \
                  probes = [\"app:*\"]"
)]
pub(crate) struct AgentArgs {
    /// What is exported and where to; without a target in it, of every process. SIGHUP reads it again
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Read the configuration, say what is wrong with it, and stop
    #[arg(long)]
    check: bool,
}

pub(crate) fn export(args: &ExportArgs) -> Result<()> {
    if args.schema {
        return written(io::stdout().write_all(Config::schema().as_bytes()));
    }
    let mut config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    if let Some(listen) = &args.prometheus {
        config.prometheus = Some(Prometheus { listen: listen.clone() });
    }
    if let Some(endpoint) = &args.otlp {
        config.otlp = Some(Otlp::to(endpoint));
    }
    if config.prometheus.is_none() && config.otlp.is_none() {
        return Err(Error::usage(
            "say where to export to: --prometheus ADDRESS, --otlp URL, or a configuration that has one of them".to_owned(),
        ));
    }
    if !config.is_empty() && !args.globs.is_empty() {
        return Err(Error::usage(format!(
            "{} is for the configuration to say, which has entries",
            args.globs.join(" ")
        )));
    }
    let target = match &config.target {
        Some(target) if !args.target.given() => configured(target)?,
        _ => args.target.target(&args.globs)?,
    };
    // What is asked for is known once probes are, where the configuration does not say it.
    let usual = config.is_empty().then_some(args.globs.as_slice());
    run(config, args.config.as_deref(), target, usual, args.duration, false)
}

pub(crate) fn agent(args: &AgentArgs) -> Result<()> {
    let config = Config::read(&args.config)?;
    if config.is_empty() {
        return Err(Error::object(
            args.config.clone(),
            "nothing to export: add [[count]], [[hist]], [[latency]] or [[span]]".to_owned(),
        ));
    }
    if config.prometheus.is_none() && config.otlp.is_none() {
        return Err(Error::object(
            args.config.clone(),
            "nowhere to export to: add [prometheus] or [otlp]".to_owned(),
        ));
    }
    if args.check {
        return Ok(());
    }
    let target = config.target.as_ref().map_or(Ok(Target::Host), configured)?;
    run(config, Some(&args.config), target, None, None, true)
}

fn configured(target: &TargetConfig) -> Result<Target> {
    Ok(match (&target.exe, &target.cgroup) {
        (Some(path), _) => Target::Executable(path.clone()),
        (_, Some(path)) => Target::Cgroup(path.clone()),
        _ if target.all => Target::Host,
        _ => return Target::pids(target.pids.iter().copied()),
    })
}

fn run(
    mut config: Config,
    path: Option<&Path>,
    target: Target,
    usual: Option<&[String]>,
    duration: Option<Duration>,
    patient: bool,
) -> Result<()> {
    uprobe_warmup::start();
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| Error::io("cannot catch signals", source))?;
    let progress = Progress::of("looking for probes");
    let ResolvedTarget { objects: mut found, processes, child } = target.resolve()?;
    let globs = usual.map_or_else(|| config.globs(), <[String]>::to_vec);
    discover::add_function_entries(&mut found, &globs);
    drop(progress);
    warn(found.iter().flat_map(|f| f.warnings.clone()));
    found.retain(|f| !f.probes.is_empty());
    let chosen = select_if_any(&found, &globs);
    if chosen.is_empty() && !patient {
        // Names what there is, or says that there is nothing.
        usdt_attach::discover::select::select(&found, &globs)?;
        return Err(Error::no_probes(target.to_string()));
    }
    report_entry_cost(&chosen);
    if usual.is_some() {
        derive(&mut config, &chosen);
    }
    config.check().map_err(Error::usage)?;
    let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
    let files = found.len();
    let settings = Settings {
        config,
        path: path.map(Into::into),
        target,
        processes,
        found,
        patient,
        duration,
    };
    let mut told = |message: String| say(&escape(message.as_bytes()));
    let exporter = Exporter::start(settings, &*backend, &mut told)?;
    let handle = signals.handle();
    forward(signals, exporter.mailbox())?;
    let mut running = child.map(PendingChild::run).transpose()?;
    let at =
        exporter.address().map_or(String::new(), |a| format!("; metrics at http://{a}/metrics"));
    say(&format!("{} in {}{at}", counted(exporter.sites(), "site"), counted(files as u64, "file")));
    // Nobody may have asked to be told.
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);
    let summary = exporter.run();
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    handle.close();
    if let Some(child) = &mut running {
        finish(child);
    }
    say(&text::summary(summary?));
    Ok(())
}

fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Signals as messages; one that ends it a second time ends it at once.
fn forward(mut signals: Signals, mailbox: Sender<Message>) -> Result<()> {
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => drop(mailbox.send(Message::Reload)),
                _ if stopping => signal_hook::low_level::exit(INTERRUPTED_TWICE),
                _ => {
                    stopping = true;
                    let _ = mailbox.send(Message::Stop);
                }
            }
        }
    });
    thread.map(drop).map_err(|source| Error::io("cannot start a thread", source))
}

/// What to export where nobody says: every probe counted, times and spans of those that are starts and ends.
fn derive(config: &mut Config, chosen: &[Selected]) {
    let mut providers: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for one in chosen {
        let names = providers.entry(&one.probe.provider).or_default();
        if !names.contains(&one.probe.name.as_str()) {
            names.push(&one.probe.name);
        }
    }
    let all = providers
        .iter()
        .flat_map(|(provider, names)| names.iter().map(move |n| format!("{provider}:{n}")));
    config.count.push(Count { probes: all.collect(), ..Count::default() });
    for (provider, names) in &providers {
        for name in names {
            let Some(end) = pairs::end(name, names) else { continue };
            let (start, end) = (format!("{provider}:{name}"), format!("{provider}:{end}"));
            let key = common_key(chosen, &start, &end);
            let latency = Latency {
                start: start.clone(),
                end: end.clone(),
                key: key.clone(),
                ..Latency::default()
            };
            config.latency.push(latency);
            if config.otlp.is_some() {
                config.span.push(Span { start, end, key, ..Span::default() });
            }
        }
    }
}

/// An argument `id` that both ends have. Without one it is the goroutine.
fn common_key(chosen: &[Selected], start: &str, end: &str) -> Option<String> {
    let has = |full: &str, name: &str| {
        let probe = chosen.iter().map(|s| &s.probe).find(|p| p.full_name() == full);
        let schema = probe.and_then(|p| p.schema.as_ref());
        schema.is_some_and(|s| s.args.iter().any(|arg| arg.name == name))
    };
    (has(start, "id") && has(end, "id")).then(|| "id".to_owned())
}
