//! Function probes compared with a debugger: what `usdt-attach trace` prints at the calls and returns
//! of functions is what Delve shows there.
//!
//! Each program runs twice, with the same input, and calls the functions in the same order. Delve
//! does not find every value of an optimized program. What it finds must be equal, and with
//! optimizations off it finds all of them.

mod delve;
mod programs;

use crate::{Process, attach, command, events_and_summary, free_port, go_of, output, root, text};
pub use programs::{PROGRAMS, own, third_party};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A program, and the functions of it that are compared.
#[derive(Debug)]
pub struct Program {
    /// The name, as in the names of cells of the matrix.
    pub name: &'static str,
    /// The Go release that builds it.
    pub release: &'static str,
    source: Source,
    /// Its arguments. `FOLDER` is an empty folder, and `PORT` a free port.
    args: &'static [&'static str],
    drive: Drive,
    functions: &'static [&'static str],
    /// Paths to compare instead of the parameters and results, each after the name of its probe.
    paths: &'static [&'static str],
}

/// Where the source of a program is.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A package of a module below `tests/go`.
    Own { module: &'static str, package: &'static str },
    /// A package at a version of its module, which the go command downloads.
    Module(&'static str),
}

/// What makes a program call its functions.
#[derive(Clone, Copy, Debug)]
enum Drive {
    /// Its arguments; it ends on its own.
    RunsToEnd,
    /// A client of the server at this port.
    Client(fn(u16) -> Result<(), String>),
}

impl Drive {
    fn run(self, port: u16) -> Result<(), String> {
        match self {
            Drive::RunsToEnd => Ok(()),
            Drive::Client(client) => client(port),
        }
    }
}

/// A probe at the entry or the returns of a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Probe {
    function: String,
    is_return: bool,
}

impl Probe {
    fn entry(function: &str) -> Probe {
        Probe { function: function.to_owned(), is_return: false }
    }

    fn returns(function: &str) -> Probe {
        Probe { function: function.to_owned(), is_return: true }
    }

    /// Returns the name as in events.
    fn name(&self) -> String {
        let suffix = if self.is_return { "%return" } else { "" };
        format!("{}{suffix}", self.function)
    }
}

/// The values of a hit by their names.
type Hit = BTreeMap<String, Value>;
/// The hits of each probe, in order.
type Hits = BTreeMap<Probe, Vec<Hit>>;

impl Program {
    /// Builds the program into a folder.
    ///
    /// # Errors
    ///
    /// Fails with the last line of the go command's errors.
    pub fn build(&self, optimized: bool, folder: &Path) -> Result<PathBuf, String> {
        let flags: &[&str] = if optimized { &[] } else { &["-gcflags=all=-N -l"] };
        let mut go = go_of(self.release);
        match self.source {
            Source::Own { module, package } => {
                let out = folder.join("program");
                go.args(["build", "-o"]).arg(&out).args(flags).arg(package);
                output(go.current_dir(root().join("tests/go").join(module)))?;
                Ok(out)
            }
            Source::Module(package) => {
                output(go.arg("install").args(flags).arg(package).env("GOBIN", folder))?;
                let path = package.split('@').next().unwrap_or_default();
                Ok(folder.join(path.rsplit('/').next().unwrap_or_default()))
            }
        }
    }

    /// Runs a cell of the matrix, and returns the number of values that were compared.
    fn run_cell(&self, cell: &str) -> Result<usize, String> {
        let folders = [(); 2].map(|()| tempfile::tempdir().map_err(|e| e.to_string()));
        let [optimized, unoptimized] = folders;
        let (optimized, unoptimized) = (optimized?, unoptimized?);
        let optimized = || self.build(true, optimized.path());
        let unoptimized = || self.build(false, unoptimized.path());
        match cell {
            "optimized" => self.compare(&optimized()?),
            "unoptimized" => self.compare(&unoptimized()?),
            _ => self.compare_builds(&optimized()?, &unoptimized()?),
        }
    }

    /// Returns the paths to compare at a probe.
    fn paths_of(&self, probe: &Probe) -> impl Iterator<Item = &'static str> {
        let name = probe.name();
        let paths = self.paths.iter().filter_map(|path| path.split_once(' '));
        paths.filter(move |(function, _)| *function == name).map(|(_, path)| path)
    }

    fn arguments(&self, folder: &Path, port: u16) -> Vec<OsString> {
        let folder = folder.display().to_string();
        let argument =
            |arg: &&str| arg.replace("FOLDER", &folder).replace("PORT", &port.to_string()).into();
        self.args.iter().map(argument).collect()
    }

    /// Compares what `usdt-attach` prints with what Delve shows, and returns the number of values
    /// that were compared.
    ///
    /// # Errors
    ///
    /// Fails with the first difference, and if no event has one of the paths.
    pub fn compare(&self, file: &Path) -> Result<usize, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let ours = self.traced(file)?;
        let theirs = delve::hits(self, file, folder.path())?;
        let compared = self.compare_hits(&ours, &theirs, "with Delve")?;
        for path in self.paths {
            let known = path.split_once(' ').is_some_and(|(probe, path)| {
                let has = |(p, hits): (&Probe, &Vec<Hit>)| {
                    p.name() == probe && hits.iter().any(|hit| hit.contains_key(path))
                };
                ours.iter().any(has)
            });
            if !known {
                return Err(format!("no event has `{path}`"));
            }
        }
        Ok(compared)
    }

    /// Compares what `usdt-attach` prints for an optimized build with what it prints for another one,
    /// whose results Delve finds. Returns the number of values that were compared.
    ///
    /// # Errors
    ///
    /// Fails with the first difference.
    pub fn compare_builds(&self, optimized: &Path, unoptimized: &Path) -> Result<usize, String> {
        let (ours, theirs) = (self.traced(optimized)?, self.traced(unoptimized)?);
        self.compare_hits(&ours, &theirs, "without optimizations")
    }

    /// Compares the hits of each function, and returns the number of values that both have.
    fn compare_hits(
        &self,
        ours: &Hits,
        theirs: &Hits,
        where_theirs: &str,
    ) -> Result<usize, String> {
        let mut compared = 0;
        for function in self.functions {
            for probe in [Probe::entry(function), Probe::returns(function)] {
                let none = Vec::new();
                let name = probe.name();
                let (ours, theirs) =
                    (ours.get(&probe).unwrap_or(&none), theirs.get(&probe).unwrap_or(&none));
                if ours.len() != theirs.len() || ours.is_empty() {
                    let counts = (ours.len(), theirs.len());
                    return Err(format!("{name}: {} hits, {} {where_theirs}", counts.0, counts.1));
                }
                for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                    for (argument, theirs) in theirs {
                        let Some(ours) = ours.get(argument) else { continue };
                        if ours != theirs {
                            return Err(format!(
                                "{name}, hit {number}: `{argument}` is {ours}, {where_theirs} {theirs}"
                            ));
                        }
                        compared += 1;
                    }
                }
            }
        }
        Ok(compared)
    }

    /// Starts the program, and waits until it listens on its port.
    fn start_server(&self, file: &Path, folder: &Path, port: u16) -> Result<Process, String> {
        let mut server = command(file);
        server.args(self.arguments(folder, port)).current_dir(folder);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Process(server.spawn().map_err(|e| e.to_string())?);
        // No connection: what the server does with it would be traced or not.
        let listener = format!(":{port:04X} 00000000:0000 0A");
        crate::wait_for("the server", || {
            std::fs::read_to_string("/proc/net/tcp").is_ok_and(|all| all.contains(&listener))
        });
        Ok(server)
    }

    /// Runs the program under `usdt-attach`, and returns its events.
    fn traced(&self, file: &Path) -> Result<Hits, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (folder, port) = (folder.path(), free_port());
        let mut args: Vec<String> = vec!["trace".into(), "--json".into()];
        args.extend(["--max-string".into(), "1024".into()]);
        for function in self.functions {
            args.extend([format!("func:{function}"), format!("func:{function}%return")]);
        }
        for (_, path) in self.paths.iter().filter_map(|path| path.split_once(' ')) {
            args.extend(["--arg".into(), path.to_owned()]);
        }
        let out = match self.drive {
            Drive::RunsToEnd => {
                let program = self.arguments(folder, port);
                let program = program.iter().map(|arg| arg.to_string_lossy().into_owned());
                args.extend(["--".into(), file.display().to_string()]);
                args.extend(program);
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let out = attach(&args);
                (text(&out.stdout), text(&out.stderr))
            }
            Drive::Client(client) => {
                let server = self.start_server(file, folder, port)?;
                let mut tracer = command("usdt-attach");
                tracer.args(&args).args(["-p", &server.pid().to_string()]);
                let tracer = Process::start(&mut tracer);
                tracer.wait_for_all_links();
                client(port)?;
                // Events of the last call may be on their way.
                std::thread::sleep(Duration::from_millis(300));
                let (_, out, errors) = tracer.interrupt();
                (out, errors)
            }
        };
        if out.0.is_empty() {
            return Err(format!("usdt-attach printed nothing: {}", out.1));
        }
        let (events, summary) = events_and_summary(&out.0);
        if summary["dropped"] != 0 {
            return Err(format!("events were dropped: {summary}\n{}", out.1));
        }
        let mut hits = Hits::new();
        for event in events {
            let name = event["probe"].as_str().unwrap_or_default();
            let probe = match name.strip_suffix("%return") {
                Some(function) => Probe::returns(function),
                None => Probe::entry(name),
            };
            let values = event["args"].as_object().cloned().unwrap_or_default();
            hits.entry(probe).or_default().push(values.into_iter().collect());
        }
        Ok(hits)
    }
}

/// Runs the cells of the matrix whose names contain each of the words, and returns the names of
/// those that fail; `None` if no name does.
///
/// # Errors
///
/// Fails if a value differs.
pub fn run(words: &[String]) -> Result<(), String> {
    let mut failed = Vec::new();
    let mut count = 0;
    for program in PROGRAMS {
        let cells = ["optimized", "unoptimized", "builds"]
            .map(|cell| (cell, format!("{}/functions/{}/{cell}", program.release, program.name)));
        let is_wanted = |name: &str| words.iter().all(|word| name.contains(word.as_str()));
        for (cell, name) in cells.iter().filter(|(_, name)| is_wanted(name)) {
            count += 1;
            let outcome = match program.run_cell(cell) {
                Ok(compared) => format!("yes, {compared} values"),
                Err(problem) => {
                    failed.push(name.clone());
                    format!("NO: {problem}")
                }
            };
            println!("{name:<52} {outcome}");
        }
    }
    match (count, failed.as_slice()) {
        (0, _) => Err(format!("no cell name contains all of {words:?}")),
        (_, []) => Ok(()),
        _ => Err(format!("values of functions are wrong: {}", failed.join(", "))),
    }
}
