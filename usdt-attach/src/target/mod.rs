//! What to trace: processes, a file's processes, everything, or a command to start.

mod command;
pub mod follow;

pub use command::Child;
pub(crate) use command::watch;

use crate::discover::{self, ObjectId, ScannedObject};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// As given by the user.
#[derive(Clone, Debug)]
pub enum Target {
    /// These processes.
    Pids(Vec<u32>),
    /// Every process of a file, present and future.
    Exe(PathBuf),
    /// Every process of a cgroup and of the groups below, present and future.
    Cgroup(PathBuf),
    /// Every process, present and future.
    All,
    /// A command, traced from its start.
    Command(Vec<OsString>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Pids(pids) => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                write!(f, "process {}", pids.join(", "))
            }
            Target::Exe(path) | Target::Cgroup(path) => path.display().fmt(f),
            Target::All => f.write_str("this host"),
            Target::Command(words) => words.first().map_or(Ok(()), |w| w.display().fmt(f)),
        }
    }
}

/// A target looked at: what can be traced in it.
pub struct Resolved {
    /// Files and their probes.
    pub found: Vec<ScannedObject>,
    /// Processes to trace; `None` for every one that maps the files.
    pub pids: Option<Vec<u32>>,
    /// The command, created but not yet running.
    pub child: Option<Child>,
}

impl Target {
    /// Finds the probes. `start` says whether a command is to be created.
    pub fn resolve(&self, start: bool) -> Result<Resolved> {
        let of_all = |found| Ok(Resolved { found, pids: None, child: None });
        match self {
            Target::Pids(pids) => {
                Ok(Resolved { found: processes(pids)?, pids: Some(pids.clone()), child: None })
            }
            Target::Exe(path) => of_all(vec![discover::file(path)?]),
            Target::Cgroup(path) => of_all(processes_alive(&members(path)?, &HashSet::new())),
            Target::All => {
                let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
                of_all(discover::host(threads)?)
            }
            Target::Command(command) => {
                let (program, args) =
                    command.split_first().ok_or_else(|| Error::Backend("no command to run".to_owned()))?;
                let path = lookup(Path::new(program))?;
                let found = vec![discover::file(&path)?];
                if !start {
                    return of_all(found);
                }
                let child = Child::create(&path, program, args)?;
                Ok(Resolved { found, pids: Some(vec![child.pid()]), child: Some(child) })
            }
        }
    }

    /// The cgroup that hits must come from.
    pub fn cgroup(&self) -> Option<&Path> {
        match self {
            Target::Cgroup(path) => Some(path),
            _ => None,
        }
    }
}

/// The files of several processes, each once.
fn processes(pids: &[u32]) -> Result<Vec<ScannedObject>> {
    let mut found = Vec::new();
    for pid in pids {
        add(&mut found, discover::process(*pid)?);
    }
    Ok(found)
}

/// The same, of those that have not ended, without files that are known already.
pub(crate) fn processes_alive(pids: &[u32], known: &HashSet<ObjectId>) -> Vec<ScannedObject> {
    let mut found = Vec::new();
    for pid in pids {
        add(&mut found, discover::process_except(*pid, known).unwrap_or_default());
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
    let open = |path: &Path, source| Error::Open { path: path.to_owned(), source };
    let file = path.join("cgroup.procs");
    if path.is_dir() && !file.exists() {
        let problem = "not a cgroup: it has no cgroup.procs".to_owned();
        return Err(Error::Object { path: path.to_owned(), problem });
    }
    let text = std::fs::read_to_string(&file).map_err(|e| open(path, e))?;
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
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file()).ok_or_else(
        || Error::Spawn {
            command: program.to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        },
    )
}
