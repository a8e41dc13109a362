//! The command line of `usdt-attach`.

use crate::backend::Choice;
use crate::discover;
use crate::error::{Error, Result};
use crate::plan::{Options, Plan};
use crate::report::{json, text};
use crate::select::select;
use crate::session::{Mechanism, Session};
use crate::stream::{Signals, Until, run};
use crate::target::{Resolved, Target};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Finds static probes (USDT) in binaries and processes of any language, and enables them.
#[derive(Debug, Parser)]
#[command(
    name = "usdt-attach",
    version,
    after_help = "Examples:\n  usdt-attach list ./app                       probes of a file\n  \
                  usdt-attach list -p 1234 'app:request-*'     of a process and its libraries\n  \
                  usdt-attach trace -p 1234 app:request-start  events, until Ctrl-C\n  \
                  usdt-attach trace --json -- ./app -v         a command, from its start\n\n\
                  Exit status: 0 done, 2 bad usage or input, 3 the system refused."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to colour output and messages
    #[arg(long, value_enum, default_value_t = Colour::Auto, global = true)]
    color: Colour,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the probes of a file, of a process, or of all
    List(ListArgs),
    /// Enable probes and print their events
    Trace(TraceArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Process to look into, its libraries included
    #[arg(short, long, value_name = "PID")]
    pid: Option<u32>,
    /// Look into every process
    #[arg(long, conflicts_with = "pid")]
    all: bool,
    /// One JSON object per probe
    #[arg(long)]
    json: bool,
    /// Binary to look into (unless -p or --all is given), then globs `provider:probe`
    #[arg(value_name = "BIN|GLOB", required_unless_present_any = ["pid", "all"])]
    rest: Vec<OsString>,
}

#[derive(Debug, Args)]
struct TraceArgs {
    /// Processes to trace, separated by commas
    #[arg(short, long, value_name = "PID", value_delimiter = ',', conflicts_with_all = ["exe", "command"])]
    pid: Vec<u32>,
    /// Trace every process of this file, present and future
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    exe: Option<PathBuf>,
    /// Probes: `provider:probe`, with `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Command to start and trace
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
    /// Stop after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Stop after this time, such as 10s, 500ms, 2m
    #[arg(long, value_name = "T", value_parser = duration)]
    duration: Option<Duration>,
    /// Longest text copied from an argument, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=2048))]
    max_text: u32,
    /// One JSON object per event, the last one a summary
    #[arg(long)]
    json: bool,
    /// Print what would be attached and stop; needs no privileges
    #[arg(long)]
    dry_run: bool,
    /// What makes the kernel program: this tool itself (embedded, the default), or libbcc from C (bcc)
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Auto,
    Embedded,
    Bcc,
}

impl Colour {
    fn enabled(self, stream: &impl IsTerminal) -> bool {
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && stream.is_terminal(),
        }
    }
}

const OK: i32 = 0;
const BAD_INPUT: i32 = 2;
const REFUSED: i32 = 3;

/// `10`, `10s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("the unit is one of ms, s, m, h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "not a number with a unit, such as 10s".to_owned())?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| "out of range".to_owned())
}

/// Runs the command line; returns the exit code.
pub fn main() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way, too; there is nowhere left to report a closed stdout.
            let _ = error.print();
            return error.exit_code();
        }
    };
    let result = match &cli.command {
        Command::List(args) => list(args, cli.color),
        Command::Trace(args) => trace(args, cli.color),
    };
    match result {
        Ok(()) => OK,
        Err(error) => {
            let colour = cli.color.enabled(&io::stderr());
            say(&format!("{} {error}", if colour { "\x1b[1m\x1b[91merror:\x1b[0m" } else { "error:" }));
            if error.is_refusal() { REFUSED } else { BAD_INPUT }
        }
    }
}

/// One line on standard error.
fn say(message: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(io::stderr(), "{message}");
}

fn warn(warnings: impl IntoIterator<Item = String>) {
    for warning in warnings {
        say(&format!("warning: {}", text::escape(warning.as_bytes())));
    }
}

/// A closed pipe ends output, not the program's success.
fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io { what: "cannot write the output", source: error })
        }
        _ => Ok(()),
    }
}

fn list(args: &ListArgs, colour: Colour) -> Result<()> {
    let (found, globs, place) = match (args.pid, args.rest.split_first()) {
        _ if args.all => {
            let threads = std::thread::available_parallelism().unwrap_or(std::num::NonZero::<usize>::MIN);
            (discover::host(threads)?, args.rest.as_slice(), "this host".to_owned())
        }
        (Some(pid), _) => (discover::process(pid)?, args.rest.as_slice(), format!("process {pid}")),
        (None, Some((file, globs))) => {
            let path = Path::new(file);
            (vec![discover::file(path)?], globs, path.display().to_string())
        }
        (None, None) => return Ok(()),
    };
    let globs: Vec<String> = globs.iter().map(|g| g.to_string_lossy().into_owned()).collect();
    warn(found.iter().flat_map(|f| f.warnings.clone()));
    let chosen = select(&found, &globs)?;
    if chosen.is_empty() {
        say(&format!("{place}: no probes"));
        return Ok(());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if args.json {
        json::list(&mut out, &chosen)
    } else {
        text::list(&mut out, &chosen, args.all, colour.enabled(&io::stdout()))
    };
    written(result.and_then(|()| out.flush()))
}

fn trace(args: &TraceArgs, colour: Colour) -> Result<()> {
    let target = match (&args.exe, args.command.is_empty(), args.pid.is_empty()) {
        (Some(path), ..) => Target::Exe(path.clone()),
        (None, false, _) => Target::Command(args.command.clone()),
        (None, true, false) => Target::Pids(args.pid.clone()),
        (None, true, true) => return Err(no_target(&args.globs)),
    };
    let Resolved { found, pids, child } = target.resolve(!args.dry_run)?;
    warn(found.iter().flat_map(|f| f.warnings.clone()));
    let chosen = select(&found, &args.globs)?;
    if chosen.is_empty() {
        return Err(Error::NoProbes(target.to_string()));
    }
    let options = Options {
        pids: pids.clone(),
        limit: args.events,
        max_text: args.max_text,
        optimisation: crate::optimisation(),
        ..Options::default()
    };
    let (plan, warnings) = Plan::new(&chosen, &options);
    warn(warnings);
    if plan.objects.is_empty() {
        return Err(Error::Usage("none of the sites can be attached to".into()));
    }
    if args.dry_run {
        return dry_run(&plan, args.json);
    }
    let signals = Signals::catch()?;
    let backend = match args.backend {
        Backend::Auto => Choice::Auto,
        Backend::Embedded => Choice::Embedded,
        Backend::Bcc => Choice::Bcc,
    };
    let mut session = Session::start(&plan, backend, Mechanism::Auto)?;
    let mut running = child.map(crate::target::Child::run).transpose()?;
    let until = Until { events: args.events, duration: args.duration, pids };
    let out = std::cell::RefCell::new(BufWriter::with_capacity(1 << 16, io::stdout().lock()));
    let mut lines = text::Lines::new(colour.enabled(&io::stdout()));
    let summary = run(
        &mut session,
        &signals,
        &until,
        &mut |event| {
            let out = &mut *out.borrow_mut();
            if args.json { json::event(out, event) } else { lines.event(out, event) }
        },
        &mut || out.borrow_mut().flush(),
    )?;
    drop(session);
    if let Some(child) = &mut running {
        finish(child);
    }
    if args.json {
        let out = &mut *out.borrow_mut();
        return written(json::summary(out, summary).and_then(|()| out.flush()));
    }
    say(&text::summary(summary));
    Ok(())
}

/// What to trace was not said; what stands in the place of a glob may be it.
fn no_target(globs: &[String]) -> Error {
    let meant = match globs.iter().find(|g| Path::new(g).is_file()) {
        Some(file) => format!("; for a file that is --exe {file}, or -- {file} to start it"),
        None => String::new(),
    };
    Error::Usage(format!("say what to trace: -p PID, --exe PATH or -- CMD{meant}"))
}

fn dry_run(plan: &Plan, as_json: bool) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if as_json {
        serde_json::to_writer(&mut out, plan).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"))
    } else {
        text::plan(&mut out, plan)
    };
    written(result.and_then(|()| out.flush()))
}

/// A command that this program started does not outlive it: asked to end, and ended if it does not.
fn finish(child: &mut std::process::Child) {
    const PATIENCE: Duration = Duration::from_secs(5);
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let ended = |child: &mut std::process::Child| !matches!(child.try_wait(), Ok(None));
    if !ended(child)
        && let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended in between.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let asked = std::time::Instant::now();
        while !ended(child) && asked.elapsed() < PATIENCE {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = child.kill();
    }
    let _ = child.wait();
}
