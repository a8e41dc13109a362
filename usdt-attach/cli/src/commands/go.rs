//! `usdt-attach go`: shows the state of a Go runtime.

use super::args::report_entry_cost;
use super::attach::terminate;
use super::process_arg::{ProcessArg, single_pid};
use crate::goview::render::{Address, Place, PreviousOverview, View, ViewStyle};
use crate::goview::{GLOBS, Metric, Overview, is_measured, plans};
use crate::hit_costs::HitCosts;
use crate::output::terminal::Screen;
use crate::output::text;
use crate::privileges::{Needs, restrict_attached};
use crate::run_loop::{Output, OutputError, StopConditions, run};
use crate::signals::Signals;
use clap::Args;
use cli_common::{Color, Text, say, warn};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::select::{Selected, select_if_any};
use usdt_attach::discover::{self, ScannedObject};
use usdt_attach::error::{Error, Escaped, Result};
use usdt_attach::event::Event;
use usdt_attach::event::goroutines::{GoroutineReader, GoroutineSnapshot};
use usdt_attach::event::symbolize::{CodeAddress, Symbolizer};
use usdt_attach::plan::Options;
use usdt_attach::session::EventLoop;
use usdt_attach::session::Mechanism;
use usdt_attach::session::Session;
use usdt_attach::target::{
    LeftOutChildren, PendingChild, ResolvedTarget, Target, processes_running,
};
use usdt_export::time::{parse_duration, unix_nanos};

#[derive(Debug, Args)]
pub(crate) struct GoArgs {
    /// Go process to show: a PID, or a name as of pidof(8)
    #[arg(short, long, value_name = "PID|NAME", conflicts_with_all = ["exe", "command"])]
    pid: Option<ProcessArg>,
    /// Show the process of this executable
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    exe: Option<PathBuf>,
    /// Print at most N rows of each list, instead of as many as fit on the terminal
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// Refresh interval; a terminal is redrawn in place
    #[arg(long, value_name = "T", value_parser = parse_duration, default_value = "1s")]
    interval: Duration,
    /// Stop after this time, such as 10s, 500ms or 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Print one JSON object per interval
    #[arg(long)]
    json: bool,
    /// Attach to functions without a stack check, too; each hit costs tens of times more
    #[arg(long)]
    single_step: bool,
    /// Start this command and trace it from its first instruction
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl GoArgs {
    /// What the command needs; `None` if it starts the process.
    pub(crate) fn needs(&self) -> Option<Needs> {
        let needs = Needs { attaching: true, processes: true, ..Needs::default() };
        self.command.is_empty().then_some(needs)
    }
}

pub(crate) fn go(args: &GoArgs, color: Color) -> Result<()> {
    let globs = GLOBS.map(str::to_owned);
    let target = match (&args.pid, &args.exe) {
        (Some(process), _) => Target::pid(single_pid(process)?)?,
        (None, Some(path)) => Target::pid(process_of(path)?)?,
        (None, None) if !args.command.is_empty() => Target::Command(args.command.clone()),
        (None, None) => {
            return Err(Error::usage(
                "`go` needs exactly one process: pass -p PID|NAME, --exe PATH or -- CMD",
            ));
        }
    };
    let resolved = target.resolve()?;
    let pids = resolved.pids();
    let ResolvedTarget { objects: mut found, processes, child, warnings, .. } = resolved;
    discover::add_function_entries(&mut found, &globs);
    warn(warnings);
    warn(found.iter().flat_map(|f| &f.warnings));
    let mut selected = select_if_any(&found, &globs);
    selected.retain(|selected| is_measured(&selected.probe));
    let signals = Signals::catch()?;
    report_entry_cost(&selected, args.single_step, HitCosts::default());
    let options =
        Options { pids: pids.clone(), single_step: args.single_step, ..Options::default() };
    // The view shows one process; children are another.
    let left_out = processes.as_deref().and_then(LeftOutChildren::count_from);
    let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
    let (mut metrics, mut sessions) = (Vec::new(), Vec::new());
    for (metric, plan) in plans(&selected, &options) {
        sessions.push(Session::start(plan, &*backend)?);
        metrics.push(metric);
    }
    if sessions.is_empty() {
        return Err(nothing_to_show(&found, &selected, &target));
    }
    let reader = GoroutineReader::new(&found);
    if reader.is_none() {
        // Otherwise the process's memory tells which goroutines are in system calls.
        report_unmeasured(&selected, args.single_step);
    }
    let pid = pids.as_ref().and_then(|pids| pids.first().copied()).unwrap_or_default();
    let first_snapshot = reader.as_ref().and_then(|reader| reader.read(pid));
    let mut symbols = Symbolizer::default();
    found.iter().for_each(|f| symbols.add_object(&f.object));
    let mut running = child.map(PendingChild::run).transpose()?;
    let conditions = StopConditions { duration: args.duration, interval: Some(args.interval) };
    let processes = processes.unwrap_or_default();
    let event_loop = EventLoop::new(sessions)?.until_exit(&processes)?;
    let mut output = OverviewOutput {
        metrics,
        json: args.json,
        style: ViewStyle {
            color: color.enabled(&io::stdout()),
            terminal: None,
            max_rows: args.top.map(|n| n as usize),
        },
        screen: Screen::new(true),
        interval: args.interval,
        previous: VecDeque::new(),
        pid,
        reader,
        first_snapshot,
        symbols: RefCell::new(symbols),
        places: RefCell::new(HashMap::new()),
    };
    // Nothing is followed from here on. A command has its own privileges already.
    let attached =
        Needs { processes: true, ending_a_command: running.is_some(), ..Needs::default() };
    restrict_attached(attached, || event_loop.summary().is_ok());
    let summary = run(event_loop, &signals, conditions, &mut output)?;
    if let Some(child) = &mut running {
        terminate(child);
    }
    if !args.json {
        say(&text::summary(summary));
    }
    if let Some(children) = left_out.and_then(|children| children.count().ok()).filter(|n| *n > 0) {
        say(&format!(
            "note: `go` shows one process, and left out {children} of its children; -p shows one of them"
        ));
    }
    Ok(())
}

/// Returns the only process that executes this file.
fn process_of(path: &Path) -> Result<u32> {
    let pids = processes_running(&Target::executable(path).scan()?.objects)?;
    match pids[..] {
        [pid] => Ok(pid),
        [] => Err(Error::usage(format!(
            "no process that you may read executes {}; pass -- CMD to start one",
            Escaped::new(path)
        ))),
        _ => {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            Err(Error::usage(format!(
                "{} processes execute {}; pass -p with one of {}",
                pids.len(),
                Escaped::new(path),
                pids.join(", ")
            )))
        }
    }
}

/// Names the probes that are not measured because the kernel would single-step them.
fn report_unmeasured(selected: &[Selected], single_step: bool) {
    let mut names: Vec<String> = selected
        .iter()
        .filter(|s| s.probe.is_single_stepped() && !single_step)
        .map(|s| s.probe.full_name())
        .collect();
    names.dedup();
    if !names.is_empty() {
        say(&format!(
            "note: not measured: {}; without a stack check, each hit is single-stepped, which is tens of times slower (--single-step measures them)",
            names.join(", ")
        ));
    }
}

/// Returns the error for a target of which no metric can be measured.
fn nothing_to_show(found: &[ScannedObject], selected: &[Selected], target: &Target) -> Error {
    if !selected.is_empty() {
        return Error::usage(format!(
            "all probes of {target} are single-stepped, which is tens of times slower; --single-step attaches anyway"
        ));
    }
    if found.iter().any(|object| discover::runtime_entries(object).is_some()) {
        // Warnings have said why it has none.
        return Error::no_probes(target.to_string());
    }
    Error::usage(format!("{target} is not a Go program, so there is nothing that `go` can show"))
}

/// Prints the overview at each interval.
struct OverviewOutput {
    metrics: Vec<Metric>,
    json: bool,
    style: ViewStyle,
    screen: Screen,
    interval: Duration,
    /// The last two overviews, the newest first. The final report may come right after an interval,
    /// too early to compute rates from the newest.
    previous: VecDeque<TimedOverview>,
    pid: u32,
    /// `None` if the layout of the runtime is unknown.
    reader: Option<GoroutineReader>,
    /// The goroutines at the time of attaching.
    first_snapshot: Option<GoroutineSnapshot>,
    symbols: RefCell<Symbolizer>,
    places: RefCell<HashMap<Address, Place>>,
}

struct TimedOverview {
    overview: Overview,
    read_at: Instant,
}

impl OverviewOutput {
    /// The newest overview that is old enough to compute rates from.
    fn previous(&self) -> Option<PreviousOverview<'_>> {
        let previous =
            self.previous.iter().find(|timed| timed.read_at.elapsed() >= self.interval / 2)?;
        Some(PreviousOverview { overview: &previous.overview, age: previous.read_at.elapsed() })
    }

    fn place_of(&self, address: Address) -> Place {
        let mut places = self.places.borrow_mut();
        places.entry(address).or_insert_with(|| self.symbolize(address)).clone()
    }

    fn symbolize(&self, address: Address) -> Place {
        let code_address = match address {
            Address::Return(address) => CodeAddress::Return(address),
            Address::Entry(address) => CodeAddress::Instruction(address),
        };
        let frames = self.symbols.borrow_mut().frames(self.pid, code_address);
        let Some(frame) = frames.first() else { return Place::default() };
        match frame.function() {
            Some(function) => {
                let (file, line) = frame.line().map(|at| (at.file.clone(), at.line)).unzip();
                Place { function: function.to_owned(), file, line }
            }
            None => {
                let (Address::Return(address) | Address::Entry(address)) = address;
                Place { function: format!("{address:#x}"), ..Place::default() }
            }
        }
    }
}

impl Output for OverviewOutput {
    fn event(&mut self, _: &Event<'_>) -> io::Result<()> {
        Ok(())
    }

    fn totals(
        &mut self,
        sessions: &[Session],
        is_last: bool,
    ) -> std::result::Result<(), OutputError> {
        // Mappings can be read only as long as the process lives.
        self.symbols.borrow_mut().cache_mappings(self.pid);
        let mut overview = Overview::read(&self.metrics, sessions)?;
        // If the process has ended, the last snapshot is printed again.
        let last_snapshot = || match self.previous.front() {
            Some(previous) => previous.overview.snapshot.clone(),
            None => self.first_snapshot.clone(),
        };
        let snapshot =
            self.reader.as_ref().and_then(|reader| reader.read(self.pid)).or_else(last_snapshot);
        overview.add_snapshot(snapshot, self.first_snapshot.as_ref());
        let view = View {
            now: &overview,
            previous: self.previous(),
            place_of: &|address| self.place_of(address),
            style: ViewStyle { terminal: self.screen.lines_and_columns(), ..self.style },
        };
        let mut out = Text::new(io::stdout().lock(), self.style.color);
        if self.json {
            view.json(&mut out, unix_nanos())?;
        } else {
            let text = view.text();
            self.screen.draw(&mut out, &text, is_last)?;
        }
        self.previous.truncate(1);
        self.previous.push_front(TimedOverview { overview, read_at: Instant::now() });
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
