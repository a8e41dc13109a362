//! Errors and warnings of the library.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::Path;

/// Why tracing cannot start or continue.
///
/// `{}` prints the message: one sentence without the cause. `{:#}` also prints the cause, which
/// [`source`](std::error::Error::source) returns, and the [hint](Error::hint). The message may contain names from files and
/// processes, which are not escaped.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<io::Error>,
    hint: Option<Cow<'static, str>>,
}

/// The kind of an [`Error`], for programs to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file, process or command that does not exist, or no longer does.
    NotFound,
    /// This process lacks a privilege, or a security policy forbids what it tried.
    Permission,
    /// The kernel lacks a feature, or a program that has to be installed is missing.
    Unsupported {
        /// The first Linux version with the feature; `None` where no newer kernel would help or the version is not known.
        since: Option<&'static str>,
    },
    /// A contradiction or an omission in what the caller asked for; also use of a tracer in a forked child.
    InvalidInput,
    /// A filter that does not parse, or that does not fit the arguments it names.
    InvalidFilter,
    /// A file that is not an object file, or a damaged one; also a configuration or schema file that does not parse.
    InvalidObject,
    /// No probe matches a glob, or the target has no probes.
    NoMatch,
    /// The kernel rejected an operation for another reason.
    Kernel,
    /// Reading or writing failed.
    Io,
}

/// A result of this library.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of a kind. The message is one sentence without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error { inner: Box::new(Inner { kind, message: message.into(), source: None, hint: None }) }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: io::Error) -> Error {
        self.inner.source = Some(source);
        self
    }

    /// Adds the hint: what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Error {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What to do about it; `None` where that is not known.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// The `errno` of the cause; `None` unless the cause is a failed system call.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.inner.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// An [`ErrorKind::InvalidInput`]: a contradiction or an omission in what the caller asked for.
    pub fn usage(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// A file that cannot be opened: the kind follows from the cause.
    pub fn open(path: impl AsRef<Path>, source: io::Error) -> Error {
        let message = format!("cannot open {}", path.as_ref().display());
        Error::new(kind_of_file_error(&source), message).with_source(source)
    }

    /// An [`ErrorKind::InvalidObject`]: a file whose content is invalid.
    pub fn object(path: impl AsRef<Path>, problem: impl fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidObject, format!("{}: {problem}", path.as_ref().display()))
    }

    /// An [`ErrorKind::Io`]: reading or writing failed.
    pub fn io(what: impl Into<Cow<'static, str>>, source: io::Error) -> Error {
        Error::new(ErrorKind::Io, what).with_source(source)
    }

    /// An [`ErrorKind::NotFound`]: a process that does not exist.
    pub fn no_process(pid: u32) -> Error {
        Error::new(ErrorKind::NotFound, format!("no process {pid}; it may have ended"))
    }

    /// An [`ErrorKind::NoMatch`]: a target without probes.
    pub fn no_probes(target: impl fmt::Display) -> Error {
        Error::new(ErrorKind::NoMatch, format!("{target} has no probes"))
    }

    /// An [`ErrorKind::Unsupported`]: something that this machine lacks.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Unsupported { since: None }, message)
    }

    pub(crate) fn process_access_denied(pid: u32) -> Error {
        Error::new(ErrorKind::Permission, format!("process {pid} belongs to another user"))
            .with_hint("run as root or with CAP_SYS_PTRACE")
    }

    pub(crate) fn no_match(glob: impl fmt::Display, known: impl fmt::Display) -> Error {
        Error::new(ErrorKind::NoMatch, format!("no probe matches `{glob}`; {known}"))
    }

    pub(crate) fn spawn(command: impl AsRef<Path>, source: io::Error) -> Error {
        let message = format!("cannot run {}", command.as_ref().display());
        Error::new(kind_of_file_error(&source), message).with_source(source)
    }

    /// A system call that the kernel rejected.
    pub(crate) fn kernel(what: impl Into<Cow<'static, str>>, source: io::Error) -> Error {
        let kind = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => ErrorKind::Permission,
            Some(libc::ENOSYS | libc::EOPNOTSUPP) => ErrorKind::Unsupported { since: None },
            _ => ErrorKind::Kernel,
        };
        Error::new(kind, what).with_source(source)
    }

    /// Makes an error of what a system call returns.
    pub(crate) fn kernel_rejected(
        what: impl Into<Cow<'static, str>>,
    ) -> impl FnOnce(io::Error) -> Error {
        |source| Error::kernel(what, source)
    }
}

fn kind_of_file_error(source: &io::Error) -> ErrorKind {
    match source.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::InvalidObject,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if f.alternate() {
            if let Some(source) = self.source() {
                write!(f, ": {source}")?;
            }
            if let Some(hint) = self.hint() {
                write!(f, "; {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| source as _)
    }
}

/// Something that was left out while the rest works. `Display` prints one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    kind: WarningKind,
    message: String,
}

/// The kind of a [`Warning`]: what was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// A file that cannot be read, or that nothing can be attached to.
    SkippedObject,
    /// A process that this one may not read.
    SkippedProcess,
    /// A note, or a part of the descriptions in a file, that is damaged.
    InvalidNote,
    /// A probe or one of its sites that is not attached to.
    SkippedProbe,
    /// An argument that is not read.
    SkippedArgument,
}

impl Warning {
    pub(crate) fn new(kind: WarningKind, message: impl Into<String>) -> Warning {
        Warning { kind, message: message.into() }
    }

    /// Its kind.
    pub fn kind(&self) -> WarningKind {
        self.kind
    }
}

/// A sentence without a full stop. It may contain names from files and processes, which are not escaped.
impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_its_cause_once_and_reads_no_files() {
        let error = Error::kernel("cannot attach", io::Error::from_raw_os_error(libc::EPERM))
            .with_hint("run as root");
        assert_eq!(error.to_string(), "cannot attach");
        assert_eq!(
            error.source().map(ToString::to_string).unwrap(),
            "Operation not permitted (os error 1)"
        );
        assert_eq!(
            format!("{error:#}"),
            "cannot attach: Operation not permitted (os error 1); run as root"
        );
        assert_eq!(
            (error.kind(), error.raw_os_error()),
            (ErrorKind::Permission, Some(libc::EPERM))
        );
    }
}
