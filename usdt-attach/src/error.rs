//! The library's error: what went wrong, in a sentence that says what to do.

use crate::kernel::capabilities::Capabilities;
use std::io;
use std::path::PathBuf;

/// Anything that keeps a trace from starting or going on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that is no usable ELF file.
    #[error("{}: {problem}", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A process that is not there.
    #[error("no process {0}; it may have ended")]
    NoProcess(u32),
    /// A process that may not be looked at.
    #[error("process {0} belongs to another user; run as root or with CAP_SYS_PTRACE")]
    ForeignProcess(u32),
    /// A glob without a match.
    #[error("no probe matches `{glob}`; {known}")]
    NoMatch {
        /// As given.
        glob: String,
        /// What there is to choose from.
        known: String,
    },
    /// Nothing to trace in a target.
    #[error("{0} has no probes")]
    NoProbes(String),
    /// A command line that says too little.
    #[error("{0}")]
    Usage(String),
    /// The kernel said no.
    #[error("{what}: {source}{}", hint(source))]
    Refused {
        /// What was tried.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// An address that nobody can connect to.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// As given.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A command that did not start.
    #[error("cannot run {}: {source}", command.display())]
    Spawn {
        /// The program.
        command: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A back end that this build or machine does not have, or whose compiler failed.
    #[error("{0}")]
    Backend(String),
    /// Reading from the kernel or writing a report failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// Shorthand of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the system refused (privileges, kernel) rather than the input being wrong.
    pub fn is_refusal(&self) -> bool {
        match self {
            Error::ForeignProcess(_)
            | Error::Refused { .. }
            | Error::Listen { .. }
            | Error::Backend(_)
            | Error::Io { .. } => true,
            Error::Open { source, .. } | Error::Spawn { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }

    /// Makes an error of what a system call returns.
    pub(crate) fn refused(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        |source| Error::Refused { what: what.into(), source }
    }
}

fn hint(source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!("; {}", Capabilities::own().hint()),
        Some(libc::ENOSYS) => "; the kernel has no BPF (CONFIG_BPF_SYSCALL)".to_owned(),
        _ => String::new(),
    }
}
