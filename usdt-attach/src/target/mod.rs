//! What to trace: processes, a file's processes, everything, or a command to start.

mod command;
pub mod follow;
mod process_handle;

pub use command::Child;
pub use process_handle::ProcessHandle;

use crate::discover::{self, ObjectId, ScannedObject};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use usdt_files::TEXT_LIMIT;

/// What to trace.
#[derive(Clone, Debug)]
pub enum Target {
    /// These processes.
    Processes(Vec<ProcessHandle>),
    /// Every process that maps this executable or library, present and future.
    Exe(PathBuf),
    /// Every process of a cgroup (v2) and of those below, present and future.
    Cgroup(PathBuf),
    /// Every process of this host, present and future.
    All,
    /// A command and its arguments, traced from its first instruction.
    Command(Vec<OsString>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Processes(processes) => {
                let pids: Vec<String> = processes.iter().map(|p| p.pid().to_string()).collect();
                write!(f, "process {}", pids.join(", "))
            }
            Target::Exe(path) | Target::Cgroup(path) => path.display().fmt(f),
            Target::All => f.write_str("this host"),
            Target::Command(words) => words.first().map_or(Ok(()), |w| w.display().fmt(f)),
        }
    }
}

/// A target and the probes in it.
#[derive(Debug)]
pub struct ResolvedTarget {
    /// Objects and their probes.
    pub found: Vec<ScannedObject>,
    /// Processes to trace; `None`: every process that maps the objects.
    pub processes: Option<Vec<ProcessHandle>>,
    /// The command, created but not yet running; `None` for other targets.
    pub child: Option<Child>,
}

impl Target {
    /// The process that has this number now.
    ///
    /// # Errors
    ///
    /// Fails when there is no such process.
    pub fn pid(pid: u32) -> Result<Target> {
        Target::pids([pid])
    }

    /// The processes that have these numbers now.
    ///
    /// # Errors
    ///
    /// Fails when one of them does not exist.
    pub fn pids(pids: impl IntoIterator<Item = u32>) -> Result<Target> {
        Ok(Target::Processes(pids.into_iter().map(ProcessHandle::open).collect::<Result<_>>()?))
    }

    /// Every process of an executable file or a library, present and future; upgrades of the file are followed.
    pub fn executable(path: impl Into<PathBuf>) -> Target {
        Target::Exe(path.into())
    }

    /// Every process of a cgroup (v2) and of those below, present and future.
    pub fn cgroup_v2(path: impl Into<PathBuf>) -> Target {
        Target::Cgroup(path.into())
    }

    /// Every process of this host, present and future.
    pub fn host() -> Target {
        Target::All
    }

    /// A command and its arguments, traced from its first instruction. A name without a slash is looked up in `PATH`.
    pub fn command(words: impl IntoIterator<Item = impl Into<OsString>>) -> Target {
        Target::Command(words.into_iter().map(Into::into).collect())
    }

    /// Finds the probes and creates the process of a [`Target::Command`], held before its program starts.
    ///
    /// # Errors
    ///
    /// Fails when a file or process cannot be read or does not exist.
    pub fn resolve(&self) -> Result<ResolvedTarget> {
        let Target::Command(command) = self else { return self.scan() };
        let (path, name, args) = command_line(command)?;
        let found = vec![discover::scan_file(&path)?];
        let child = Child::create(&path, name, args)?;
        let processes = Some(vec![ProcessHandle::open(child.pid())?]);
        Ok(ResolvedTarget { found, processes, child: Some(child) })
    }

    /// Finds the probes, without creating a command.
    ///
    /// # Errors
    ///
    /// As [`Target::resolve`].
    pub fn scan(&self) -> Result<ResolvedTarget> {
        let found = match self {
            Target::Processes(processes) => {
                let found = scan_processes(processes)?;
                return Ok(ResolvedTarget {
                    found,
                    processes: Some(processes.clone()),
                    child: None,
                });
            }
            Target::Exe(path) => vec![discover::scan_file(path)?],
            Target::Cgroup(path) => processes_alive(&members(path)?, &HashSet::new()),
            Target::All => {
                let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
                discover::scan_host(threads)?
            }
            Target::Command(command) => vec![discover::scan_file(&command_line(command)?.0)?],
        };
        Ok(ResolvedTarget { found, processes: None, child: None })
    }

    /// The cgroup that hits must come from; `None` unless the target is one.
    pub fn cgroup(&self) -> Option<&Path> {
        match self {
            Target::Cgroup(path) => Some(path),
            _ => None,
        }
    }
}

impl ResolvedTarget {
    /// Ids of the processes to trace; `None`: every process that maps the objects.
    pub fn pids(&self) -> Option<Vec<u32>> {
        self.processes.as_ref().map(|all| all.iter().map(ProcessHandle::pid).collect())
    }
}

/// The file that a command runs, its name and its arguments.
fn command_line(command: &[OsString]) -> Result<(PathBuf, &OsString, &[OsString])> {
    let (program, args) = command.split_first().ok_or_else(|| Error::usage("no command to run"))?;
    Ok((lookup(Path::new(program))?, program, args))
}

/// The files of several processes, each once.
fn scan_processes(processes: &[ProcessHandle]) -> Result<Vec<ScannedObject>> {
    let mut found = Vec::new();
    for process in processes {
        add(&mut found, discover::scan_process(process.pid())?);
        // What was read may be another process's that has the number now.
        if !process.is_alive() {
            return Err(Error::no_process(process.pid()));
        }
    }
    Ok(found)
}

/// The files of the processes that have not ended, each once, without those that are known already.
pub(crate) fn processes_alive(pids: &[u32], known: &HashSet<ObjectId>) -> Vec<ScannedObject> {
    let mut found = Vec::new();
    for pid in pids {
        add(&mut found, discover::scan_process_except(*pid, known).unwrap_or_default());
    }
    found
}

fn add(found: &mut Vec<ScannedObject>, more: Vec<ScannedObject>) {
    for one in more {
        if !found.iter().any(|f| f.object.id == one.object.id) {
            found.push(one);
        }
    }
}

/// Every process of a cgroup and of the groups below.
pub(crate) fn members(path: &Path) -> Result<Vec<u32>> {
    let open = |path: &Path, source| Error::open(path, source);
    let file = path.join("cgroup.procs");
    if path.is_dir() && !file.exists() {
        let problem = "not a cgroup: it has no cgroup.procs".to_owned();
        return Err(Error::object(path, problem));
    }
    let text = usdt_files::read_text(&file, TEXT_LIMIT).map_err(|e| open(path, e))?;
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in std::fs::read_dir(path).map_err(|e| open(path, e))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // A group that is removed meanwhile has no processes.
            pids.extend(members(&entry.path()).unwrap_or_default());
        }
    }
    Ok(pids)
}

/// The file that a shell would run.
fn lookup(program: &Path) -> Result<PathBuf> {
    if program.components().count() > 1 {
        return Ok(program.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::spawn(program, std::io::Error::from(std::io::ErrorKind::NotFound)))
}
