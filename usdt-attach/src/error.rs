//! Errors and warnings of the library.
//!
//! An [`Error`] ends an operation; a [`Warning`] reports what was left out while the operation went
//! on. Both carry a kind for programs to match on and a message for people.
//!
//! A message names the file, process or probe that it is about. It begins in lower case and has no
//! final period, so that a caller can put it into a sentence.

use crate::kernel::capabilities::PtraceObstacle;
pub use stapsdt::escape::Escaped;
use stapsdt::escape::{escape_line, escape_lines};
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::Path;

/// The error type of this library: why tracing cannot start or continue.
///
/// `{}` prints the message: one sentence without the cause. `{:#}` also prints the cause, which
/// [`source`](std::error::Error::source) returns, and the [hint](Error::hint).
///
/// The message may contain names from files and processes. What a terminal would obey in it is
/// escaped, so it can be printed as it is. It is one line, unless the error has details, such as the
/// messages of a compiler, which follow in lines of their own.
///
/// ```
/// use usdt_attach::Target;
/// use usdt_attach::error::ErrorKind;
///
/// let error = Target::executable("/no/such/file").scan().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(format!("{error:#}").starts_with("cannot open /no/such/file: No such file"));
/// ```
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    /// Lines that follow the message; empty for most errors.
    details: String,
    source: Option<io::Error>,
    hint: Option<Cow<'static, str>>,
}

/// The kind of an [`Error`], for programs to match on.
///
/// Kinds may be added, so a `match` needs a wildcard arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file, process or command does not exist, or no longer does.
    NotFound,
    /// This process lacks a privilege, or a security policy forbids the operation.
    Permission,
    /// The kernel lacks a feature, or a program that must be installed is missing.
    Unsupported {
        /// The first Linux version with the feature, such as `"5.8"`. `None` where a newer kernel
        /// would not help, or where the version is not known.
        since: Option<&'static str>,
    },
    /// The caller's request contradicts itself or is incomplete. Also: a tracer was used in a
    /// forked child.
    InvalidInput,
    /// A filter does not parse, or its comparisons do not fit the types of the arguments.
    InvalidFilter,
    /// A file is not an ELF file or is damaged. Also: a configuration or schema file does not
    /// parse.
    InvalidObject,
    /// No probe matches a glob, or the target has no probes.
    NoMatch,
    /// The kernel rejected an operation for a reason that no other kind covers.
    Kernel,
    /// This process or the host has no file descriptors left.
    ResourceLimit,
    /// Reading or writing failed.
    Io,
}

/// A [`Result`](std::result::Result) whose error is this library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Creates an error. The message is one sentence that begins in lower case and has no final
    /// period.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        // Callers escape the names in a message with `Escaped`. This is the last line of defense,
        // also against newlines, with which a name could forge a message.
        let message = escape_line(&message.into()).into_owned();
        let details = String::new();
        Error { inner: Box::new(Inner { kind, message, details, source: None, hint: None }) }
    }

    /// Adds lines that follow the message, such as those of a compiler. Newlines and tabs are kept.
    #[must_use]
    pub fn with_details(mut self, details: &str) -> Error {
        self.inner.details = escape_lines(details.trim_end()).into_owned();
        self
    }

    /// Adds the cause, which [`source`](std::error::Error::source) returns and `{:#}` prints.
    ///
    /// If there are no descriptors left, the kind becomes [`ErrorKind::ResourceLimit`], and the hint
    /// names the limit.
    pub(crate) fn with_source(mut self, source: io::Error) -> Error {
        if let Some(hint) = limit_hint(&source) {
            self.inner.kind = ErrorKind::ResourceLimit;
            self.inner.hint = Some(hint);
        }
        self.inner.source = Some(source);
        self
    }

    /// Adds a hint: what the user can do about the error.
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Error {
        self.inner.hint = Some(match hint.into() {
            Cow::Borrowed(hint) => hint.into(),
            Cow::Owned(hint) => escape_line(&hint).into_owned().into(),
        });
        self
    }

    /// Returns true if there are no descriptors left, so that a later try can succeed.
    pub(crate) fn is_resource_limit(&self) -> bool {
        self.kind() == ErrorKind::ResourceLimit
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns what the user can do about the error; `None` where the library has no suggestion.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Returns the `errno` of the cause; `None` unless a system call failed.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.inner.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// Creates an [`ErrorKind::InvalidInput`]: the request contradicts itself or is incomplete.
    pub fn usage(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// Creates the error for a file that cannot be opened. The kind follows from the cause:
    /// `NotFound`, `Permission` or `InvalidObject`.
    pub fn open(path: impl AsRef<Path>, source: io::Error) -> Error {
        let message = format!("cannot open {}", Escaped::new(path.as_ref()));
        Error::new(kind_of_file_error(&source), message).with_source(source)
    }

    /// Creates an [`ErrorKind::InvalidObject`]: the content of a file is invalid.
    pub fn object(path: impl AsRef<Path>, problem: impl fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidObject, format!("{}: {problem}", Escaped::new(path.as_ref())))
    }

    /// Creates an [`ErrorKind::Io`]: reading or writing failed.
    pub fn io(what: impl Into<Cow<'static, str>>, source: io::Error) -> Error {
        Error::new(ErrorKind::Io, what).with_source(source)
    }

    /// Creates an [`ErrorKind::NotFound`]: the process does not exist.
    pub fn no_process(pid: u32) -> Error {
        Error::new(ErrorKind::NotFound, format!("no process {pid}; it may have ended"))
    }

    /// Creates an [`ErrorKind::NoMatch`]: the target has no probes.
    pub fn no_probes(target: impl fmt::Display) -> Error {
        Error::new(ErrorKind::NoMatch, format!("{target} has no probes"))
    }

    /// Creates an [`ErrorKind::NoMatch`]: no probe matched these globs while the target ran. Without
    /// globs, it had no probes.
    pub fn never_matched(globs: &str) -> Error {
        let message = match globs {
            "" => "the target had no probes until the end".to_owned(),
            globs => format!("no probe matched {globs} until the end"),
        };
        Error::new(ErrorKind::NoMatch, message)
    }

    /// Creates an [`ErrorKind::Unsupported`]: this machine lacks something, and no newer kernel
    /// would add it.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Unsupported { since: None }, message)
    }

    pub(crate) fn process_access_denied(pid: u32) -> Error {
        let obstacle = PtraceObstacle::to(pid);
        Error::new(ErrorKind::Permission, obstacle.message(pid)).with_hint(obstacle.hint())
    }

    pub(crate) fn no_match(glob: impl fmt::Display, known: impl fmt::Display) -> Error {
        Error::new(ErrorKind::NoMatch, format!("no probe matches `{glob}`; {known}"))
    }

    pub(crate) fn spawn(command: impl AsRef<Path>, source: io::Error) -> Error {
        let message = format!("cannot run {}", Escaped::new(command.as_ref()));
        Error::new(kind_of_file_error(&source), message).with_source(source)
    }

    /// Creates the error for a system call that failed; the kind follows from `errno`.
    pub(crate) fn kernel(what: impl Into<Cow<'static, str>>, source: io::Error) -> Error {
        let kind = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => ErrorKind::Permission,
            Some(libc::ENOSYS | libc::EOPNOTSUPP) => ErrorKind::Unsupported { since: None },
            _ => ErrorKind::Kernel,
        };
        Error::new(kind, what).with_source(source)
    }

    /// Returns a function for `map_err` that wraps the error of a failed system call.
    pub(crate) fn kernel_rejected(
        what: impl Into<Cow<'static, str>>,
    ) -> impl FnOnce(io::Error) -> Error {
        |source| Error::kernel(what, source)
    }
}

/// Returns what to do if a system call failed because there are no descriptors left.
fn limit_hint(source: &io::Error) -> Option<Cow<'static, str>> {
    match source.raw_os_error() {
        Some(libc::EMFILE) => {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
            Some(Cow::Owned(format!(
                "this process has reached its limit{limit} open files; raise the hard limit, with `ulimit -Hn` or LimitNOFILE= of its unit"
            )))
        }
        Some(libc::ENFILE) => Some(Cow::Borrowed(
            "the host has reached its limit of open files; raise the sysctl fs.file-max",
        )),
        _ => None,
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
        if !self.inner.details.is_empty() {
            write!(f, ":\n{}", self.inner.details)?;
        }
        if f.alternate() {
            if let Some(source) = self.source() {
                write!(f, ": {}", escape_line(&source.to_string()))?;
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

/// Something that was left out while the rest of an operation succeeded.
///
/// `Display` prints one sentence that begins in lower case and has no final period. It may contain
/// names from files and processes; what a terminal would obey in them is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    kind: WarningKind,
    message: String,
}

/// The kind of a [`Warning`]: what was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// A file cannot be read, or nothing in it can be attached to.
    SkippedObject,
    /// Processes belong to other users and this process may not read them.
    SkippedProcess,
    /// A process is stopped by a signal or a debugger, and hits no probes until it continues.
    StoppedProcess,
    /// A file that an earlier warning reported is attached to after all.
    AttachedLate,
    /// A note is damaged, or a description in a file does not fit its probe.
    InvalidNote,
    /// A probe, or one of its sites, is not attached to.
    SkippedProbe,
    /// An argument cannot be read, so events do not have its value.
    SkippedArgument,
    /// An argument is not of the kind that its schema or an option names, so it has another kind.
    MismatchedArgument,
}

impl Warning {
    pub(crate) fn new(kind: WarningKind, message: impl Into<String>) -> Warning {
        Warning { kind, message: escape_line(&message.into()).into_owned() }
    }

    /// Returns the kind of the warning.
    pub fn kind(&self) -> WarningKind {
        self.kind
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_limit_of_descriptors() {
        let error = Error::open("/a", io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(error.kind(), ErrorKind::ResourceLimit);
        assert!(error.hint().unwrap().contains("LimitNOFILE"), "{error:#}");
        let error = Error::kernel("cannot attach", io::Error::from_raw_os_error(libc::ENFILE));
        assert_eq!(error.kind(), ErrorKind::ResourceLimit);
        assert!(error.hint().unwrap().contains("fs.file-max"), "{error:#}");
    }

    #[test]
    fn escapes_what_a_terminal_obeys() {
        let path = Path::new("/tmp/\x1b[2J\r\n\u{9b}\u{202e}");
        let shown = "/tmp/\\u{1b}[2J\\r\\n\\u{9b}\\u{202e}";
        let cause = || io::Error::other("\x1b");
        for (error, expected) in [
            (Error::open(path, cause()), format!("cannot open {shown}: \\u{{1b}}")),
            (Error::object(path, "a\nb\x07"), format!("{shown}: a\\nb\\u{{7}}")),
            (Error::spawn(path, cause()), format!("cannot run {shown}: \\u{{1b}}")),
            (Error::no_probes(path.to_str().unwrap()), format!("{shown} has no probes")),
            (Error::usage("a").with_hint("b\n".to_owned()), "a; b\\n".to_owned()),
            (Error::usage("a").with_details("b\n\tc\x1b\n"), "a:\nb\n\tc\\u{1b}".to_owned()),
        ] {
            assert_eq!(format!("{error:#}"), expected);
        }
        let warning = Warning::new(WarningKind::SkippedObject, "a\n\x1b");
        assert_eq!(warning.to_string(), "a\\n\\u{1b}");
    }

    #[test]
    fn alternate_format_adds_cause_and_hint() {
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
