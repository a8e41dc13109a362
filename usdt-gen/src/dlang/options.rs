//! Options of the preprocessor and the parser.

use super::strict::Dialect;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A function that reads an included file.
///
/// It returns [`io::ErrorKind::NotFound`] for a path that does not exist; the preprocessor then
/// tries the next directory of the search path.
pub type ReadFile = Arc<dyn Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync>;

/// How to read a definition.
#[derive(Clone)]
pub struct Options {
    /// Macros to define, each as `NAME` or `NAME=VALUE`. The default value is 1.
    pub defines: Vec<String>,
    /// Directories to search for included files, in this order.
    pub include_dirs: Vec<PathBuf>,
    /// Directory of the definition, which `#include "…"` searches first.
    pub source_dir: PathBuf,
    /// Another implementation of the language. What it rejects is an error, too.
    pub strict: Option<Dialect>,
    /// How to read included files. By default no file is found.
    pub read_file: ReadFile,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            defines: Vec::new(),
            include_dirs: Vec::new(),
            source_dir: PathBuf::new(),
            strict: None,
            read_file: Arc::new(|_| Err(io::ErrorKind::NotFound.into())),
        }
    }
}
