//! What a file is, apart from its probes: facts for `doctor`.

use super::{ScannedObject, add_function_entries};
use gobinary::GoBinary;
use gobinary::catalog::providers;

/// What a file is, apart from its probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// True if the Go toolchain linked the file.
    pub is_go: bool,
    /// The Go version as `runtime.Version()` returns it, such as `go1.27.3`. `None` for other files,
    /// and if the build information is missing or damaged.
    pub go_version: Option<String>,
    /// True if a Go file has DWARF.
    pub has_dwarf: bool,
    /// The number of function entries that can stand in for probes of Go's runtime and library.
    pub function_entries: usize,
}

/// Reads the facts of a scanned file. What cannot be read is left out.
pub fn file_facts(scanned: &ScannedObject) -> FileFacts {
    let bytes = scanned.object.bytes();
    let Some(go) = GoBinary::read(&bytes) else { return FileFacts::default() };
    let globs: Vec<String> = providers().iter().map(|p| format!("{}:*", p.name)).collect();
    let mut with_entries = [ScannedObject { probes: Vec::new(), ..scanned.clone() }];
    add_function_entries(&mut with_entries, &globs);
    FileFacts {
        is_go: true,
        go_version: go.version().map(str::to_owned),
        has_dwarf: go.has_dwarf(),
        function_entries: with_entries.iter().map(|one| one.probes.len()).sum(),
    }
}
