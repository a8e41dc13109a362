//! `usdt-attach go`: what a Go program's runtime does.

use super::args::report_entry_cost;
use super::attach::finish;
use crate::goview::render::{Address, Place, View};
use crate::goview::{GLOBS, Metric, Overview, plans};
use crate::output::table::Style;
use crate::output::terminal::Screen;
use crate::output::text;
use crate::run_loop::{Output, StopConditions, run};
use crate::signals::Signals;
use clap::Args;
use cli_common::{Color, say, warn};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use usdt_attach::backend::BackendKind;
use usdt_attach::discover;
use usdt_attach::discover::select::select_if_any;
use usdt_attach::error::{Error, Result};
use usdt_attach::event::Event;
use usdt_attach::event::goroutines::{GoroutineReader, GoroutineSnapshot};
use usdt_attach::event::symbolize::{CodeAddress, Symbolizer};
use usdt_attach::plan::Options;
use usdt_attach::session::EventLoop;
use usdt_attach::session::Mechanism;
use usdt_attach::session::Session;
use usdt_attach::target::{PendingChild, ResolvedTarget, Target};
use usdt_export::time::{parse_duration, unix_nanos};

#[derive(Debug, Args)]
pub(crate) struct GoArgs {
    /// The process
    #[arg(short, long, value_name = "PID", conflicts_with = "command")]
    pid: Option<u32>,
    /// How often to look; on a terminal the screen is redrawn in place
    #[arg(long, value_name = "T", value_parser = parse_duration, default_value = "1s")]
    interval: Duration,
    /// Stop after this time, such as 10s, 500ms, 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// JSON objects, one an interval
    #[arg(long)]
    json: bool,
    /// Command to start, from its first instruction
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) fn go(args: &GoArgs, color: Color) -> Result<()> {
    let globs = GLOBS.map(str::to_owned);
    let target = match args.pid {
        Some(pid) => Target::pid(pid)?,
        None if !args.command.is_empty() => Target::Command(args.command.clone()),
        None => return Err(Error::usage("a runtime is one process's: say -p PID or -- CMD")),
    };
    let resolved = target.resolve()?;
    let pids = resolved.pids();
    let ResolvedTarget { objects: mut found, processes, child } = resolved;
    discover::add_function_entries(&mut found, &globs);
    warn(found.iter().flat_map(|f| f.warnings.clone()));
    let chosen = select_if_any(&found, &globs);
    report_entry_cost(&chosen);
    let options = Options { pids: pids.clone(), ..Options::default() };
    let signals = Signals::catch()?;
    let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
    let (mut metrics, mut sessions) = (Vec::new(), Vec::new());
    for (metric, plan) in plans(&chosen, &options) {
        sessions.push(Session::start(plan, &*backend)?);
        metrics.push(metric);
    }
    if sessions.is_empty() {
        return Err(Error::no_probes(target.to_string()));
    }
    let reader = GoroutineReader::new(&found);
    let pid = pids.as_ref().and_then(|pids| pids.first().copied()).unwrap_or_default();
    let first = reader.as_ref().and_then(|reader| reader.read(pid));
    let mut symbols = Symbolizer::default();
    found.iter().for_each(|f| symbols.add_object(&f.object));
    let mut running = child.map(PendingChild::run).transpose()?;
    let conditions = StopConditions { duration: args.duration, interval: Some(args.interval) };
    let event_loop =
        EventLoop::new(sessions)?.until_exit(processes.as_deref().unwrap_or_default())?;
    let mut output = OverviewOutput {
        metrics,
        json: args.json,
        color: color.enabled(&io::stdout()),
        screen: Screen::new(true),
        interval: args.interval,
        before: VecDeque::new(),
        pid,
        reader,
        first,
        symbols: RefCell::new(symbols),
        places: RefCell::new(HashMap::new()),
    };
    let summary = run(event_loop, &signals, conditions, &mut output)?;
    if let Some(child) = &mut running {
        finish(child);
    }
    if !args.json {
        say(&text::summary(summary));
    }
    Ok(())
}

struct OverviewOutput {
    metrics: Vec<Metric>,
    json: bool,
    color: bool,
    screen: Screen,
    interval: Duration,
    /// The last ones. The end may come right behind one, too early for a rate.
    before: VecDeque<(Overview, Instant)>,
    pid: u32,
    reader: Option<GoroutineReader>,
    /// What was there when the probes were attached.
    first: Option<GoroutineSnapshot>,
    symbols: RefCell<Symbolizer>,
    places: RefCell<HashMap<Address, Place>>,
}

impl OverviewOutput {
    fn compared(&self) -> Option<&(Overview, Instant)> {
        let enough = |(_, at): &&(Overview, Instant)| at.elapsed() >= self.interval / 2;
        self.before.iter().find(enough)
    }

    fn place(&self, place: Address) -> Place {
        let named = || {
            let (address, pc) = match place {
                Address::Behind(address) => (address, CodeAddress::Return(address)),
                Address::Entry(address) => (address, CodeAddress::Instruction(address)),
            };
            let frames = self.symbols.borrow_mut().frames(self.pid, pc);
            let unknown = || Place { function: format!("{address:#x}"), ..Place::default() };
            frames.first().map_or_else(unknown, |frame| match frame.function() {
                Some(function) => {
                    let (file, line) = frame.line().map(|at| (at.file.clone(), at.line)).unzip();
                    Place { function: function.to_owned(), file, line }
                }
                None => unknown(),
            })
        };
        self.places.borrow_mut().entry(place).or_insert_with(named).clone()
    }
}

impl Output for OverviewOutput {
    fn event(&mut self, _: &Event<'_>) -> io::Result<()> {
        Ok(())
    }

    fn counted(&mut self, sessions: &[Session], last: bool) -> Result<io::Result<()>> {
        // While the process still is there: its map says where its code is.
        self.symbols.borrow_mut().cache_mappings(self.pid);
        let mut overview = Overview::read(&self.metrics, sessions)?;
        // At the end the process may be gone: what there was last stays.
        let last_seen = || match self.before.front() {
            Some((before, _)) => before.census.clone(),
            None => self.first.clone(),
        };
        let census =
            self.reader.as_ref().and_then(|reader| reader.read(self.pid)).or_else(last_seen);
        overview.complete(census, self.first.as_ref());
        let view = View {
            now: &overview,
            before: self.compared().map(|(before, at)| (before, at.elapsed())),
            places: &|place| self.place(place),
            style: Style { color: self.color, width: Screen::width(), unit: None, top: usize::MAX },
        };
        let mut out = io::stdout().lock();
        let result = if self.json {
            view.json(&mut out, unix_nanos())
        } else {
            let text = view.text();
            self.screen.draw(&mut out, &text, last)
        };
        self.before.truncate(1);
        self.before.push_front((overview, Instant::now()));
        Ok(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
