//! Sealing inside `go build -toolexec='usdt-gen toolexec'`.
//!
//! The go command runs every tool through the wrapper. All but the linker pass through unchanged. The linker
//! is run, then its output sealed before the go command stamps the build id and caches it. The go command asks
//! each tool for its identity (`-V=full`) to key its cache: only the linker's answer is changed, so that sealed
//! and unsealed binaries are never confused and nothing else is rebuilt.

use crate::seal::{FileError, Options, is_elf, seal_file};
use std::ffi::{OsStr, OsString};
use std::hash::Hasher;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Why the wrapped tool could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolexecError {
    /// The tool did not start.
    #[error("cannot run {}: {source}", tool.display())]
    Run {
        /// The tool.
        tool: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The linker's output could not be looked at.
    #[error("cannot read the linker's output {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The linker's output could not be sealed.
    #[error("cannot seal the linker's output: {0}")]
    Seal(#[from] FileError),
}

/// Tools that the go command runs (`src/cmd` of Go); one of these names ends what belongs to other wrappers.
const TOOLS: [&str; 10] =
    ["asm", "buildid", "cgo", "compile", "cover", "covdata", "link", "pack", "preprofile", "vet"];

/// The linker's arguments, if it is the linker that is run: by itself, or by another wrapper that has its own words
/// in front. The go command names its tools by absolute paths.
fn linker<'a>(tool: &'a Path, args: &'a [OsString]) -> Option<&'a [OsString]> {
    let words = std::iter::once(tool.as_os_str()).chain(args.iter().map(OsString::as_os_str));
    let (at, name) = words.enumerate().find_map(|(at, word)| {
        let path = Path::new(word);
        let stem = path.file_stem()?;
        let known = TOOLS.iter().any(|t| OsStr::new(t) == stem);
        (known && (at == 0 || path.is_absolute())).then_some((at, stem))
    })?;
    (name == "link").then(|| args.get(at..).unwrap_or_default())
}

/// Runs `tool` with `args` as the go command asked. Returns the exit code to end with; does not return at all
/// for tools that are passed through.
pub(crate) fn run(tool: &Path, args: &[OsString]) -> Result<i32, ToolexecError> {
    let failed = |source| ToolexecError::Run { tool: tool.to_owned(), source };
    let Some(args_of_link) = linker(tool, args) else {
        return Err(failed(Command::new(tool).args(args).exec()));
    };
    if args_of_link.iter().any(|arg| arg == "-V=full") {
        let output = Command::new(tool)
            .args(args)
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(failed)?;
        let line = String::from_utf8_lossy(&output.stdout);
        print_identity(&identity(line.trim_end(), &sealer()));
        return Ok(code(output.status));
    }
    let status = Command::new(tool).args(args).status().map_err(failed)?;
    if status.success()
        && let Some(path) = output_of(args_of_link)
    {
        seal_output(&path)?;
    }
    Ok(code(status))
}

// The go command reads the answer from standard output; that is this mode's only purpose.
#[allow(clippy::print_stdout)]
fn print_identity(line: &str) {
    println!("{line}");
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(1)
}

/// This sealer: its version, and what tells two builds of one version apart.
fn sealer() -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    // Without its own file at hand the version has to do.
    let own = std::env::current_exe().and_then(std::fs::read).unwrap_or_default();
    hasher.write(&own);
    format!("usdt-gen-{}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish())
}

/// The linker's identity line with the sealer's in it. A release's line counts whole; of a development
/// version's only the build id at its end does.
fn identity(line: &str, ours: &str) -> String {
    if line.rsplit(' ').next().is_some_and(|last| last.starts_with("buildID=")) {
        format!("{line}+{ours}")
    } else {
        format!("{line} {ours}")
    }
}

/// The file that `link ARGS…` writes.
fn output_of(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "-o" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|a| a.strip_prefix("-o=")) {
            return Some(PathBuf::from(path));
        }
    }
    None
}

/// Seals the linker's output; other formats (a cross-built program, an archive) are left as they are.
fn seal_output(path: &Path) -> Result<(), ToolexecError> {
    if is_elf(path).map_err(|source| ToolexecError::Read { path: path.to_owned(), source })? {
        seal_file(path, None, Options::default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_identity_changes_where_the_go_command_looks() {
        assert_eq!(identity("link version go1.27.3", "us"), "link version go1.27.3 us");
        assert_eq!(
            identity("link version devel go1.28-abc buildID=x/y", "us"),
            "link version devel go1.28-abc buildID=x/y+us"
        );
        assert_eq!(sealer(), sealer());
    }

    #[test]
    fn the_linker_is_found_behind_other_wrappers() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        for (tool, rest, found) in [
            ("/go/link", &["-o", "x"][..], Some(2)),
            ("link", &["-V=full"], Some(1)),
            ("/go/compile", &["-o", "/x/link"], None),
            ("wrap", &["--flag", "/go/link", "-o", "x"], Some(2)),
            ("wrap", &["/go/asm", "-I", "/src/link"], None),
            ("wrap", &["link"], None),
        ] {
            assert_eq!(
                linker(Path::new(tool), &args(rest)).map(<[_]>::len),
                found,
                "{tool} {rest:?}"
            );
        }
    }

    #[test]
    fn the_output_is_found_in_both_spellings() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(output_of(&args(&["-a", "-o", "x/a.out", "m.a"])), Some("x/a.out".into()));
        assert_eq!(output_of(&args(&["-o=y"])), Some("y".into()));
        assert_eq!(output_of(&args(&["-o"])), None);
    }
}
