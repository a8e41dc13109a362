//! The exit code of an error.

use cli_common::{BAD_INPUT, REFUSED};
use usdt_attach::error::{Error, ErrorKind};

/// Returns 2 for errors in what the user passed, and 3 if the system refused.
pub(crate) fn exit_code(error: &Error) -> i32 {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::InvalidInput
        | ErrorKind::InvalidFilter
        | ErrorKind::InvalidObject
        | ErrorKind::NoMatch => BAD_INPUT,
        // Permission, Unsupported, Kernel, Io, and kinds that this version does not know.
        _ => REFUSED,
    }
}
