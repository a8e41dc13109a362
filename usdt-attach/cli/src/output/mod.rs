//! Events and probes for people (`text`, `table`) and for programs (`json`, `csv`, `chrome`).

pub(crate) mod chrome;
pub(crate) mod csv;
pub mod json;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod terminal;
pub mod text;

use std::io;
use usdt_attach::error::{Error, Result};

/// Turns a failed write into an error. A closed pipe ends the output and is not a failure.
pub(crate) fn check_write(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write the output", error))
        }
        _ => Ok(()),
    }
}
