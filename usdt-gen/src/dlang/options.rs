//! Options of the parser and the preprocessor.

use super::strict::Dialect;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads an included file.
pub type Read = Arc<dyn Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync>;

/// How to read a definition.
#[derive(Clone)]
pub struct Options {
    /// Macros to define, `NAME` or `NAME=VALUE`.
    pub defines: Vec<String>,
    /// Where to look for included files.
    pub include: Vec<PathBuf>,
    /// The definition's own folder, where `#include "…"` looks first.
    pub folder: PathBuf,
    /// Another implementation whose rules to keep, too.
    pub strict: Option<Dialect>,
    /// How included files are read; by default there are none.
    pub read: Read,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            defines: Vec::new(),
            include: Vec::new(),
            folder: PathBuf::new(),
            strict: None,
            read: Arc::new(|_| Err(io::ErrorKind::NotFound.into())),
        }
    }
}
