//! How a project generates the package of a definition: the `go:generate` line in a Go file next to
//! it.

use crate::dlang::Dialect;
use std::path::{Path, PathBuf};
use usdt_files::TEXT_LIMIT;

/// The options of `usdt-gen` for a definition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Macros to define, from `-D`.
    pub(crate) defines: Vec<String>,
    /// Directories of `#include`, from `-I`. Relative paths begin at the directory of the line.
    pub(crate) include_dirs: Vec<PathBuf>,
    /// From `--strict`.
    pub(crate) strict: Option<Dialect>,
    /// Directory of the package, from `-o`. `None` for that of the definition.
    pub(crate) output: Option<PathBuf>,
}

/// Reads the arguments of `usdt-gen`, the program first. Returns the definition that they name and
/// the options, or `None` if they do not generate a package.
pub(crate) type ReadDirective = fn(&[String]) -> Option<(PathBuf, Settings)>;

/// The largest number of files of a directory that are searched.
const MAX_FILES: usize = 1000;
const DIRECTIVE: &str = "//go:generate ";
/// The script next to a definition that runs `usdt-gen`, or says how to install it.
pub(crate) const GENERATOR_SCRIPT: &str = "usdt-gen.sh";

/// Returns the options for a definition, or the defaults if no Go file next to it generates its
/// package.
pub(super) fn settings(definition: &Path, read_directive: ReadDirective) -> Settings {
    let directory = definition.parent().unwrap_or(Path::new("/"));
    let Ok(entries) = std::fs::read_dir(directory) else { return Settings::default() };
    let mut files: Vec<PathBuf> = entries
        .take(MAX_FILES)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "go"))
        .collect();
    files.sort();
    let sources = files.iter().filter_map(|file| usdt_files::read_text(file, TEXT_LIMIT).ok());
    for source in sources {
        for line in source.lines().filter_map(|line| line.strip_prefix(DIRECTIVE)) {
            if let Some((named, settings)) = read_directive(&words(line))
                && super::uri::normalized(&directory.join(named)) == definition
            {
                return settings;
            }
        }
    }
    Settings::default()
}

/// Splits a line as `go generate` does: at white space, but for strings in double quotes. Returns
/// nothing for a line that runs another program.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            Some((word, tail)) => (word, tail),
            None => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = tail.trim_start();
    }
    let is = |word: usize, name: &str| {
        words.get(word).is_some_and(|word| word.rsplit('/').next() == Some(name))
    };
    if is(0, "usdt-gen") {
        return words;
    }
    // As `usdt-gen init` writes the line.
    if is(0, "sh") && is(1, GENERATOR_SCRIPT) { words.split_off(1) } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn splits_the_line_of_go_generate() {
        assert_eq!(
            words("usdt-gen -D X=1  -I \"a b\" probes.d "),
            ["usdt-gen", "-D", "X=1", "-I", "a b", "probes.d"]
        );
        assert_eq!(words("../bin/usdt-gen probes.d"), ["../bin/usdt-gen", "probes.d"]);
        assert_eq!(words("sh usdt-gen.sh -I x probes.d"), ["usdt-gen.sh", "-I", "x", "probes.d"]);
        for other in ["sh other.sh", "sh", "stringer -type=A", "", "\"", "go run x"] {
            assert!(words(other).is_empty(), "{other}");
        }
    }
}
