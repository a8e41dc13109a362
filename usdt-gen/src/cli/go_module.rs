//! The Go module that a directory belongs to.

use super::command_error::CommandError;
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};
use usdt_files::TEXT_LIMIT;

/// A Go module.
pub(super) struct GoModule {
    /// Directory of its `go.mod`.
    pub(super) root: PathBuf,
    /// Module path, as in `go.mod`.
    pub(super) path: String,
}

/// Finds the module that a directory belongs to.
pub(super) fn find_module(directory: &Path) -> Result<GoModule, CommandError> {
    for root in directory.ancestors() {
        let go_mod = root.join("go.mod");
        let Ok(content) = usdt_files::read_text(&go_mod, TEXT_LIMIT) else { continue };
        return match module_path(&content) {
            Some(path) if !path.is_empty() => Ok(GoModule { root: root.to_owned(), path }),
            _ => Err(CommandError::bad_input(format!(
                "{} has no `module` line; add one, for example `module example.com/app`",
                Escaped::new(&go_mod)
            ))),
        };
    }
    Err(CommandError::bad_input(
        "no go.mod in this directory or its parents; change to a Go module, or run `go mod init NAME` first",
    ))
}

/// Returns the path in the `module` directive of a `go.mod`. The directive may be a block.
fn module_path(go_mod: &str) -> Option<String> {
    let mut in_block = false;
    for line in go_mod.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let path = match line.strip_prefix("module") {
            Some(rest) if rest.starts_with([' ', '\t', '"', '`', '(']) => rest.trim(),
            _ if in_block && !line.is_empty() => line,
            _ => continue,
        };
        if path == "(" {
            in_block = true;
            continue;
        }
        return Some(path.trim_matches(['"', '`']).to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::module_path;

    #[test]
    fn reads_the_path_of_a_module() {
        for (text, expected) in [
            ("module example.com/a\n", Some("example.com/a")),
            ("// module x\nmodule \"example.com/b\" // why\n", Some("example.com/b")),
            ("module (\n\texample.com/c\n)\n", Some("example.com/c")),
            ("modules x\n", None),
            ("go 1.21\n", None),
        ] {
            assert_eq!(module_path(text).as_deref(), expected, "{text:?}");
        }
    }
}
