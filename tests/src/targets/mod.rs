//! Where a program runs, how it is selected, and which of its files holds the probe, in every
//! combination: each counts exactly.
//!
//! The suite runs a part of the combinations, and `cargo xtask matrix targets` all of them.

mod environment;
mod program;

pub use environment::Environment;

use crate::containment::Cgroup;
use crate::{Process, command, events_and_summary, tools};
use environment::{Instance, Running};
use program::Image;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// How often each instance of the program fires each probe.
const HITS: usize = 20;
/// How long a tracer gets to find a library that was loaded: half a second, and as much for a
/// machine that is busy.
const TIME_TO_ATTACH: Duration = Duration::from_millis(1500);
/// How long a step of the program or of the tracer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The option that selects what is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// `-p`
    Pid,
    /// `--exe`
    Executable,
    /// `--cgroup`
    Cgroup,
    /// `--all`
    Host,
    /// `-- CMD`
    Command,
}

impl Selection {
    /// All of them.
    pub const ALL: [Selection; 5] = [
        Selection::Pid,
        Selection::Executable,
        Selection::Cgroup,
        Selection::Host,
        Selection::Command,
    ];

    fn name(self) -> &'static str {
        match self {
            Selection::Pid => "pid",
            Selection::Executable => "exe",
            Selection::Cgroup => "cgroup",
            Selection::Host => "all",
            Selection::Command => "command",
        }
    }
}

/// The file that holds the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeFile {
    /// The program itself.
    Executable,
    /// A library that the program is linked to.
    Linked,
    /// A library that the program loads while it is traced.
    Loaded,
}

impl ProbeFile {
    /// All of them.
    pub const ALL: [ProbeFile; 3] = [ProbeFile::Executable, ProbeFile::Linked, ProbeFile::Loaded];

    /// The name of the probe.
    fn name(self) -> &'static str {
        match self {
            ProbeFile::Executable => "executable",
            ProbeFile::Linked => "linked",
            ProbeFile::Loaded => "loaded",
        }
    }
}

/// A combination.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Where the program runs.
    pub environment: Environment,
    /// How it is selected.
    pub selection: Selection,
    /// Which file holds the probe.
    pub file: ProbeFile,
    /// The back end of the tracer.
    pub backend: &'static str,
}

impl Cell {
    /// Every combination for the embedded back end.
    pub fn all() -> Vec<Cell> {
        let mut cells = Vec::new();
        for environment in Environment::ALL {
            for selection in Selection::ALL {
                for file in ProbeFile::ALL {
                    cells.push(Cell { environment, selection, file, backend: "embedded" });
                }
            }
        }
        cells
    }

    /// A part of the combinations with each selection, and with both back ends: for each
    /// environment, each file with another selection.
    pub fn sample() -> Vec<Cell> {
        let mut cells = Vec::new();
        for (row, environment) in Environment::ALL.into_iter().enumerate() {
            for (column, file) in ProbeFile::ALL.into_iter().enumerate() {
                let selection = Selection::ALL[(row + 2 * column) % Selection::ALL.len()];
                // Compiling takes longer than the time in which a library is to be found.
                let backend = if file == ProbeFile::Executable { "bcc" } else { "embedded" };
                cells.push(Cell { environment, selection, file, backend });
            }
        }
        cells
    }

    /// Returns the name, for example `chroot/exe/linked`.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.environment.name(), self.selection.name(), self.file.name())
    }

    /// Traces the program.
    ///
    /// # Errors
    ///
    /// Says which hits are missing or too many, with the messages of the tracer.
    pub fn run(&self) -> Result<(), String> {
        let cgroup = match self.selection {
            Selection::Cgroup => Some(Cgroup::new()?),
            _ => None,
        };
        let image = Image::build()?;
        let place = environment::Place::create(self.environment, &image, HITS)?;
        let mut running = Vec::new();
        if self.selection != Selection::Command {
            for instance in place.instances() {
                running.push(Running::start(place.command(instance, cgroup.as_ref()))?);
            }
            self.wait("the programs to start", || {
                place.instances().iter().all(|i| i.has("started"))
            })?;
        }
        let mut args: Vec<OsString> = vec!["trace".into(), "--json".into()];
        args.extend(["--backend".into(), self.backend.into()]);
        args.push(format!("{}:{}", image.provider(), self.file.name()).into());
        args.extend(self.selection_args(&place, cgroup.as_ref())?);
        let mut tracer = Process::start(
            command(
                place
                    .tool_prefix()
                    .first()
                    .map_or_else(|| tools().join("usdt-attach").into_os_string(), Clone::clone),
            )
            .args(place.tool_prefix().iter().skip(1))
            .args((!place.tool_prefix().is_empty()).then(|| tools().join("usdt-attach")))
            .args(args),
        );
        let outcome = self.drive(&place, &tracer, running);
        if outcome.is_err() {
            // Ends a command that waits for a step that will not come.
            place.instances().iter().for_each(Instance::release);
        }
        let (_, out, errors) = place.interrupt(&mut tracer)?;
        outcome.map_err(|problem| format!("{problem}\n{out}{errors}"))?;
        self.check(&place, &out).map_err(|problem| format!("{problem}\n{errors}"))
    }

    /// Lets the program load its library and fire its probes, and waits for its end.
    fn drive(
        &self,
        place: &environment::Place,
        tracer: &Process,
        running: Vec<Running>,
    ) -> Result<(), String> {
        let instances = place.instances();
        self.wait("the tracer to attach", || place.tool_has_links(tracer))?;
        self.wait("the programs to start", || instances.iter().all(|i| i.has("started")))?;
        std::thread::sleep(TIME_TO_ATTACH);
        instances.iter().try_for_each(|i| i.create("load"))?;
        self.wait("the programs to load the library", || {
            instances.iter().all(|i| i.has("loaded"))
        })?;
        std::thread::sleep(TIME_TO_ATTACH);
        instances.iter().try_for_each(Instance::note_pid)?;
        instances.iter().try_for_each(|i| i.create("fire"))?;
        for program in running {
            program.finish()?;
        }
        self.wait("the programs to end", || instances.iter().all(Instance::has_ended))
    }

    fn selection_args(
        &self,
        place: &environment::Place,
        cgroup: Option<&Cgroup>,
    ) -> Result<Vec<OsString>, String> {
        Ok(match self.selection {
            Selection::Pid => vec!["-p".into(), place.pids()?.into()],
            Selection::Executable => vec!["--exe".into(), place.executable().into()],
            Selection::Cgroup => {
                let path = cgroup.map(Cgroup::path).unwrap_or_default();
                vec!["--cgroup".into(), path.into()]
            }
            Selection::Host => vec!["--all".into()],
            Selection::Command => {
                let mut words: Vec<OsString> = vec!["--".into()];
                words.extend(place.command_words());
                words
            }
        })
    }

    /// Compares the events with the hits: their number, and the processes that they come from.
    fn check(&self, place: &environment::Place, out: &str) -> Result<(), String> {
        if out.is_empty() {
            return Err("the tracer printed nothing".to_owned());
        }
        let (events, summary) = events_and_summary(out);
        let expected = HITS * place.instances().len();
        if events.len() != expected || summary["hits"] != expected {
            return Err(format!("{} events of {expected} hits: {summary}", events.len()));
        }
        let pids: BTreeSet<u64> = events.iter().filter_map(|e| e["pid"].as_u64()).collect();
        let expected: BTreeSet<u64> =
            place.instances().iter().map(|i| u64::from(i.pid_for_tool())).collect();
        if pids != expected {
            return Err(format!("events of the processes {pids:?}, expected {expected:?}"));
        }
        Ok(())
    }

    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), String> {
        let end = Instant::now() + TIMEOUT;
        while !condition() {
            if Instant::now() > end {
                return Err(format!("{}: timed out waiting for {what}", self.name()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Traces a program and one of its libraries with `--exe`, in two sessions, by a command such as
/// `latency`. Returns its output.
fn run_with_library(
    command_name: &str,
    backend: &'static str,
    hits: usize,
) -> Result<String, String> {
    let cell = Cell {
        environment: Environment::Host,
        selection: Selection::Executable,
        file: ProbeFile::Linked,
        backend,
    };
    let image = Image::build()?;
    let place = environment::Place::create(cell.environment, &image, hits)?;
    let instance = place.instances().first().ok_or("no instance")?;
    let running = Running::start(place.command(instance, None))?;
    cell.wait("the program to start", || instance.has("started"))?;
    let probes = [ProbeFile::Executable, ProbeFile::Linked]
        .map(|file| format!("{}:{}", image.provider(), file.name()));
    let mut tracer = command(tools().join("usdt-attach"));
    tracer.args([command_name, "--json", "--backend", backend, "--exe"]).arg(place.executable());
    let mut tracer = Process::start(tracer.args(&probes));
    let outcome = cell.drive(&place, &tracer, vec![running]);
    let (_, out, errors) = place.interrupt(&mut tracer)?;
    outcome.map_err(|problem| format!("{problem}\n{out}{errors}"))?;
    Ok(out)
}

/// Measures the time from a probe of the program to one of its library.
///
/// # Errors
///
/// Says how many values are missing or too many.
pub fn check_pairs(backend: &'static str) -> Result<(), String> {
    let (rows, summary) = events_and_summary(&run_with_library("latency", backend, HITS)?);
    if rows.len() != 1 || rows[0]["count"] != HITS {
        return Err(format!("{rows:?} {summary}"));
    }
    Ok(())
}

/// Traces more hits than a tracer reads at once, while nobody reads its output.
///
/// # Errors
///
/// Names the first event that comes too late.
pub fn check_order() -> Result<(), String> {
    const MANY: usize = 20_000;
    let (events, summary) = events_and_summary(&run_with_library("trace", "embedded", MANY)?);
    if events.len() != 2 * MANY {
        return Err(format!("{} events: {summary}", events.len()));
    }
    let times = events.iter().filter_map(|event| event["time_ns"].as_u64()).collect::<Vec<_>>();
    match times.windows(2).position(|pair| pair[0] > pair[1]) {
        None => Ok(()),
        Some(at) => Err(format!("event {at} is later than the next one: {:?}", events.get(at))),
    }
}

/// Runs the combinations whose names contain each of the words, and prints the result of each.
///
/// # Errors
///
/// Names the combinations that failed.
pub fn run(words: &[String]) -> Result<(), String> {
    let mut cells = Cell::all();
    cells.retain(|cell| words.iter().all(|word| cell.name().contains(word.as_str())));
    if cells.is_empty() {
        return Err(format!(
            "no combination has all of {words:?} in its name; names look like chroot/exe/linked"
        ));
    }
    let mut failed = Vec::new();
    for cell in &cells {
        let verdict = cell.run();
        let outcome = if verdict.is_ok() { "yes" } else { "NO" };
        println!("{:<32} {outcome}", cell.name());
        failed.extend(verdict.err().map(|problem| format!("{}: {problem}", cell.name())));
    }
    println!("{} combinations tested, {} failed", cells.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}
