//! Sealing inside `go build -toolexec='usdt-gen toolexec'`.
//!
//! The go command runs every tool through this wrapper. It replaces itself by all tools but the
//! linker. The linker's output is sealed before the go command stamps the build ID and caches it.
//!
//! The go command asks each tool for its identity (`-V=full`) to compute cache keys. The wrapper
//! changes only the linker's answer. So the cache distinguishes sealed from unsealed binaries, and
//! no package has to be compiled again.

use crate::seal::{FileError, Options, is_elf, seal_file};
use cli_common::warn;
use stapsdt::escape::Escaped;
use std::ffi::{OsStr, OsString};
use std::hash::Hasher;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The reason why a wrapped tool or the sealing of its output failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ToolexecError {
    /// The tool could not be started.
    #[error("cannot run {}: {source}", Escaped::new(tool))]
    Run {
        /// The tool's path.
        tool: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The linker's output could not be read.
    #[error("cannot read the linker's output {}: {source}", Escaped::new(path))]
    Read {
        /// The path of the output.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The linker's output could not be sealed.
    #[error("cannot seal the linker's output: {0}")]
    Seal(#[from] FileError),
}

/// The tools that the go command runs (`src/cmd` of Go). The arguments before the first of them
/// belong to other wrappers.
const GO_TOOLS: [&str; 10] =
    ["asm", "buildid", "cgo", "compile", "cover", "covdata", "link", "pack", "preprofile", "vet"];

/// Returns the linker's arguments; `None` if the command does not run the linker.
///
/// Another wrapper may come first, with arguments of its own before the linker's path. The go
/// command names its tools by absolute paths.
fn linker_args<'a>(tool: &'a Path, args: &'a [OsString]) -> Option<&'a [OsString]> {
    let words = std::iter::once(tool.as_os_str()).chain(args.iter().map(OsString::as_os_str));
    let (at, name) = words.enumerate().find_map(|(at, word)| {
        let path = Path::new(word);
        let stem = path.file_stem()?;
        let is_go_tool = GO_TOOLS.iter().any(|t| OsStr::new(t) == stem);
        (is_go_tool && (at == 0 || path.is_absolute())).then_some((at, stem))
    })?;
    (name == "link").then(|| args.get(at..).unwrap_or_default())
}

/// Runs `tool` with `args`, as requested by the go command, and seals the output of the linker.
///
/// Returns the exit code for this process. For tools other than the linker it does not return: the
/// tool replaces this process.
///
/// # Errors
///
/// Returns [`ToolexecError`] if the tool cannot be started, or the linker's output cannot be
/// sealed.
pub(crate) fn run(tool: &Path, args: &[OsString]) -> Result<i32, ToolexecError> {
    let start_failed = |source| ToolexecError::Run { tool: tool.to_owned(), source };
    let Some(link_args) = linker_args(tool, args) else {
        return Err(start_failed(Command::new(tool).args(args).exec()));
    };
    if link_args.iter().any(|arg| arg == "-V=full") {
        let output = Command::new(tool)
            .args(args)
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(start_failed)?;
        let line = String::from_utf8_lossy(&output.stdout);
        // The go command reads the answer; a closed pipe is its decision.
        let identity = sealing_identity(line.trim_end(), &sealer_identity());
        cli_common::print(format!("{identity}\n").as_bytes()).map_err(start_failed)?;
        return Ok(exit_code(output.status));
    }
    let status = Command::new(tool).args(args).status().map_err(start_failed)?;
    if status.success()
        && let Some(path) = output_path(link_args)
    {
        seal_output(&path)?;
    }
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(1)
}

/// Returns the identity of this program: its version and a hash, which distinguishes builds of one
/// version.
fn sealer_identity() -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    // If its own file cannot be read, the version alone is the identity.
    let own = std::env::current_exe().and_then(std::fs::read).unwrap_or_default();
    hasher.write(&own);
    format!("usdt-gen-{}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish())
}

/// Adds the sealer's identity to the linker's identity line. The go command uses the whole line of
/// a release, but only the build ID at the end of a development version's line.
fn sealing_identity(line: &str, sealer: &str) -> String {
    if line.rsplit(' ').next().is_some_and(|last| last.starts_with("buildID=")) {
        format!("{line}+{sealer}")
    } else {
        format!("{line} {sealer}")
    }
}

/// Returns the file that the linker writes; `None` if its arguments name none.
fn output_path(args: &[OsString]) -> Option<PathBuf> {
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

/// Seals the linker's output. Files in other formats, such as archives and programs for other
/// systems, stay unchanged.
fn seal_output(path: &Path) -> Result<(), ToolexecError> {
    if is_elf(path).map_err(|source| ToolexecError::Read { path: path.to_owned(), source })? {
        warn(seal_file(path, None, Options::default())?.warnings);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_its_identity_where_the_go_command_reads_it() {
        assert_eq!(sealing_identity("link version go1.27.3", "us"), "link version go1.27.3 us");
        assert_eq!(
            sealing_identity("link version devel go1.28-abc buildID=x/y", "us"),
            "link version devel go1.28-abc buildID=x/y+us"
        );
        assert_eq!(sealer_identity(), sealer_identity());
    }

    #[test]
    fn finds_the_linker_after_other_wrappers() {
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
                linker_args(Path::new(tool), &args(rest)).map(<[_]>::len),
                found,
                "{tool} {rest:?}"
            );
        }
    }

    #[test]
    fn finds_the_output_in_both_spellings() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(output_path(&args(&["-a", "-o", "x/a.out", "m.a"])), Some("x/a.out".into()));
        assert_eq!(output_path(&args(&["-o=y"])), Some("y".into()));
        assert_eq!(output_path(&args(&["-o"])), None);
    }
}
