//! How a subcommand fails: an exit code and a message.

use cli_common::{BAD_INPUT, REFUSED};
use stapsdt::escape::Escaped;
use std::fmt::Display;
use std::path::Path;

/// The error of a subcommand, as `main` reports it.
pub(super) struct CommandError {
    /// Exit code of the process, one of the codes in `cli_common`.
    pub(super) exit_code: i32,
    /// Printed to standard error after `error: `.
    pub(super) message: String,
}

impl CommandError {
    /// The input or the usage is wrong; running the command again fails the same way.
    pub(super) fn bad_input(message: impl Display) -> CommandError {
        CommandError { exit_code: BAD_INPUT, message: message.to_string() }
    }

    /// The system refused an operation, for example writing a file.
    pub(super) fn refused(message: impl Display) -> CommandError {
        CommandError { exit_code: REFUSED, message: message.to_string() }
    }

    /// A file that the user named cannot be read.
    pub(super) fn unreadable(path: &Path, reason: impl Display) -> CommandError {
        CommandError::bad_input(format!("cannot read {}: {reason}", Escaped::new(path)))
    }
}
