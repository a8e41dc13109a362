//! What to trace: processes, a file's processes, or a command to start.

mod command;

pub(crate) use command::{Child, watch};

use crate::discover::{self, Found};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// As given by the user.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// These processes.
    Pids(Vec<u32>),
    /// Every process of a file, present and future.
    Exe(PathBuf),
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
            Target::Exe(path) => path.display().fmt(f),
            Target::Command(words) => words.first().map_or(Ok(()), |w| w.display().fmt(f)),
        }
    }
}

/// A target looked at: what can be traced in it.
pub(crate) struct Resolved {
    pub(crate) found: Vec<Found>,
    /// Processes to trace; `None` for all of the file's.
    pub(crate) pids: Option<Vec<u32>>,
    /// The command, created but not yet running.
    pub(crate) child: Option<Child>,
}

impl Target {
    /// Finds the probes. `start` says whether a command is to be created.
    pub(crate) fn resolve(&self, start: bool) -> Result<Resolved> {
        match self {
            Target::Pids(pids) => {
                let mut found: Vec<Found> = Vec::new();
                for pid in pids {
                    for one in discover::process(*pid)? {
                        if !found.iter().any(|f| f.object.id == one.object.id) {
                            found.push(one);
                        }
                    }
                }
                Ok(Resolved { found, pids: Some(pids.clone()), child: None })
            }
            Target::Exe(path) => Ok(Resolved { found: vec![discover::file(path)?], pids: None, child: None }),
            Target::Command(command) => {
                let (program, args) =
                    command.split_first().ok_or_else(|| Error::Backend("no command to run".to_owned()))?;
                let path = lookup(Path::new(program))?;
                let found = vec![discover::file(&path)?];
                if !start {
                    return Ok(Resolved { found, pids: None, child: None });
                }
                let child = Child::create(&path, program, args)?;
                Ok(Resolved { found, pids: Some(vec![child.pid()]), child: Some(child) })
            }
        }
    }
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
