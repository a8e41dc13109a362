//! `usdt-gen add`: writes ready-made packages into the user's module.

use super::command_error::CommandError;
use super::go_module::{GoModule, find_module};
use super::output::{create_directory, print_changes, print_diff, print_text};
use crate::packages::{self, PACKAGES, Package, SourceFile};
use clap::Args;
use cli_common::{FINDINGS, OK, say, warn};
use stapsdt::escape::Escaped;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use usdt_files::{Origin, TEXT_LIMIT, write_if_changed};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  Add probes for HTTP and SQL to the current Go module:
    usdt-gen add http sql
  Rewrite the packages after an upgrade of usdt-gen:
    usdt-gen add --update
  Check in CI that they are up to date:
    usdt-gen add --check")]
pub(super) struct AddArgs {
    /// Packages to write; see --list
    #[arg(value_name = "PACKAGE", value_parser = parse_package, required_unless_present_any = ["list", "check", "update"])]
    packages: Vec<&'static Package>,
    /// Directory for the packages [default: internal/usdt in the current Go module]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Rewrite the packages that are in the directory
    #[arg(long, conflicts_with_all = ["packages", "list", "check"])]
    update: bool,
    /// Write nothing; print the changes and exit with status 1 if there are any [default packages:
    /// those in the directory]
    #[arg(long, conflicts_with = "list")]
    check: bool,
    /// List the packages and what they trace
    #[arg(long, conflicts_with = "packages")]
    list: bool,
}

/// Where packages are written if the user names no directory, below the module's root.
const DIRECTORY: &str = "internal/usdt";

fn parse_package(name: &str) -> Result<&'static Package, String> {
    packages::find(name).ok_or_else(|| {
        let names: Vec<&str> = PACKAGES.iter().map(|package| package.name).collect();
        format!("no such package; the packages are {}", names.join(", "))
    })
}

/// Where packages are written.
struct Destination {
    /// The directory, as messages show it.
    directory: PathBuf,
    /// Its import path.
    import_path: String,
    module: GoModule,
}

pub(super) fn run(args: &AddArgs) -> Result<i32, CommandError> {
    if args.list {
        print_text(&list(), false)?;
        return Ok(OK);
    }
    let destination = destination(args.output.as_deref())?;
    let mut selected = args.packages.clone();
    if selected.is_empty() {
        selected = existing(&destination.directory);
        if selected.is_empty() {
            return Err(CommandError::bad_input(format!(
                "{} has no packages of usdt-gen; name the packages to add, or pass their directory with --output",
                Escaped::new(&destination.directory)
            )));
        }
    }
    if args.check {
        return check(&destination, &selected);
    }
    let mut written = Vec::new();
    // All packages are checked before one is written.
    for package in &selected {
        let files = render(&destination, package)?;
        let folder = destination.directory.join(package.folder());
        reject_foreign_files(&folder)?;
        written.push((folder, files));
    }
    for (folder, files) in &written {
        write(folder, files)?;
    }
    if !args.update {
        print_text(&next_steps(&destination, &selected), false)?;
    }
    Ok(OK)
}

fn list() -> String {
    let width = PACKAGES.iter().map(|package| package.name.len()).max().unwrap_or_default();
    let mut out = String::new();
    for package in PACKAGES {
        let _ = writeln!(out, "{:<width$}  {}", package.name, package.description);
    }
    out
}

/// Finds the directory and its import path.
fn destination(output: Option<&Path>) -> Result<Destination, CommandError> {
    let current = std::env::current_dir().map_err(CommandError::refused)?;
    let (directory, module) = match output {
        Some(directory) => {
            let absolute = std::path::absolute(directory).map_err(CommandError::refused)?;
            (directory.to_owned(), find_module(&absolute)?)
        }
        None => {
            let module = find_module(&current)?;
            let directory = module.root.join(DIRECTORY);
            (directory.strip_prefix(&current).unwrap_or(&directory).to_owned(), module)
        }
    };
    let absolute = std::path::absolute(&directory).map_err(CommandError::refused)?;
    let relative = absolute.strip_prefix(&module.root).unwrap_or(Path::new(""));
    let Some(relative) = import_elements(relative) else {
        return Err(CommandError::bad_input(format!(
            "{} is no import path of Go; use letters, digits and `-._~` in the names of directories",
            Escaped::new(&directory)
        )));
    };
    let import_path = relative.iter().fold(module.path.clone(), |path, name| path + "/" + name);
    Ok(Destination { directory, import_path, module })
}

/// Returns the elements of a relative path if each may be in an import path
/// (`golang.org/x/mod/module`, `CheckImportPath`).
fn import_elements(path: &Path) -> Option<Vec<String>> {
    let elements = path.components().map(|component| {
        let name = component.as_os_str().to_str()?;
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        (name.chars().all(is_valid) && !name.starts_with('.') && !name.ends_with('.'))
            .then(|| name.to_owned())
    });
    elements.collect()
}

/// The packages of a directory that `usdt-gen` has written.
fn existing(directory: &Path) -> Vec<&'static Package> {
    let is_written = |package: &&Package| {
        generated_files(&directory.join(package.folder())).is_ok_and(|files| !files.is_empty())
    };
    PACKAGES.iter().filter(is_written).collect()
}

fn render(destination: &Destination, package: &Package) -> Result<Vec<SourceFile>, CommandError> {
    let import_path = format!("{}/{}", destination.import_path, package.folder());
    package.files(&import_path).map_err(CommandError::bad_input)
}

/// The files of a package's folder and its probes that `usdt-gen` has written, by path, with their
/// content. A folder that does not exist has none.
fn generated_files(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, String>> {
    Ok(go_files(folder)?.into_iter().filter(|(_, text)| packages::is_generated(text)).collect())
}

/// The Go and assembly files of a package's folder and its probes.
fn go_files(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for part in ["", "internal/probes"] {
        let entries = match std::fs::read_dir(folder.join(part)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "go" || extension == "s") {
                let text = usdt_files::read_text(&path, TEXT_LIMIT)?;
                files.insert(path, text);
            }
        }
    }
    Ok(files)
}

/// Fails if the folder has Go files that `usdt-gen` has not written.
fn reject_foreign_files(folder: &Path) -> Result<(), CommandError> {
    let files = go_files(folder).map_err(|error| CommandError::unreadable(folder, error))?;
    match files.iter().find(|(_, text)| !packages::is_generated(text)) {
        None => Ok(()),
        Some((path, _)) => Err(CommandError::bad_input(format!(
            "{} was not written by usdt-gen; nothing was written, move it, or choose another directory with --output",
            Escaped::new(path)
        ))),
    }
}

/// Writes the files of a package, and removes those that an older version has written and this one
/// does not have.
fn write(folder: &Path, files: &[SourceFile]) -> Result<(), CommandError> {
    let old = generated_files(folder).map_err(|error| CommandError::unreadable(folder, error))?;
    for file in files {
        let path = folder.join(&file.path);
        create_directory(path.parent().unwrap_or(folder))?;
        let warnings = write_if_changed(&path, file.text.as_bytes(), Origin::New)
            .map_err(CommandError::refused)?;
        warn(warnings);
    }
    for path in
        old.keys().filter(|path| !files.iter().any(|file| folder.join(&file.path) == **path))
    {
        std::fs::remove_file(path).map_err(|error| {
            CommandError::refused(format!("cannot remove {}: {error}", Escaped::new(path)))
        })?;
    }
    Ok(())
}

/// Prints a diff for each file that is out of date.
fn check(destination: &Destination, selected: &[&Package]) -> Result<i32, CommandError> {
    let mut stale = Vec::new();
    for package in selected {
        let folder = destination.directory.join(package.folder());
        let files = render(destination, package)?;
        let mut old =
            generated_files(&folder).map_err(|error| CommandError::unreadable(&folder, error))?;
        let mut is_stale = false;
        for file in files {
            let path = folder.join(&file.path);
            old.remove(&path);
            is_stale |= print_changes(&path, &file.text)?;
        }
        for (path, before) in old {
            print_diff(&Escaped::new(&path).to_string(), "removed", &before, "")?;
            is_stale = true;
        }
        if is_stale {
            stale.push(package.name);
        }
    }
    if stale.is_empty() {
        return Ok(OK);
    }
    say(&format!("out of date: {}; run usdt-gen add --update", stale.join(", ")));
    Ok(FINDINGS)
}

/// The instructions printed after packages were added.
fn next_steps(destination: &Destination, selected: &[&Package]) -> String {
    let mut out = String::new();
    for package in selected {
        let folder = destination.directory.join(package.folder());
        let _ = writeln!(out, "Wrote {}: {}.\n", Escaped::new(&folder), package.description);
        let _ = writeln!(out, "    import \"{}/{}\"\n", destination.import_path, package.folder());
        for line in package.example.lines() {
            let _ = writeln!(out, "    {line}");
        }
        out.push('\n');
    }
    let go_mod = usdt_files::read_text(&destination.module.root.join("go.mod"), TEXT_LIMIT);
    let go_mod = go_mod.unwrap_or_default();
    // The path of a module may begin with that of another.
    let is_missing = |module: &str| go_mod.split_whitespace().all(|word| word != module);
    if selected.iter().filter_map(|package| package.dependency).any(is_missing) {
        // It keeps the versions that the module has.
        out.push_str("Fetch what they depend on:\n\n    go mod tidy\n\n");
    }
    out.push_str("Build with probes that every tracer finds:\n\n    go build -toolexec='usdt-gen toolexec' .\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_directories_that_no_import_path_names() {
        assert_eq!(import_elements(Path::new("a/b-1")), Some(vec!["a".into(), "b-1".into()]));
        assert_eq!(import_elements(Path::new("")), Some(Vec::new()));
        for path in ["a b", ".hidden", "a/../b", "é", "a:b"] {
            assert_eq!(import_elements(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn names_the_packages_that_exist() {
        assert!(parse_package("htp").unwrap_err().contains("http, sql, slog"));
    }
}
