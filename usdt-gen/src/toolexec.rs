//! Sealing and injecting inside `go build -toolexec='usdt-gen toolexec'`.
//!
//! The go command runs every tool through this wrapper. It replaces itself by most of them. The
//! linker's output is sealed before the go command stamps the build ID and caches it. Compilations
//! that a plan marks get injected probes, see [`crate::inject`].
//!
//! The go command asks each tool for its identity (`-V=full`) to compute cache keys. The wrapper
//! changes only the linker's answer: it has the identity of the sealer, and of the plan. So the
//! cache distinguishes sealed from unsealed binaries, and no package has to be compiled again.

use crate::inject::plan::Plan;
use crate::inject::{InjectError, compile, link, toolchain};
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
    /// Probes could not be injected.
    #[error("{0}")]
    Inject(#[from] InjectError),
}

/// The tools that the go command runs (`src/cmd` of Go). The arguments before the first of them
/// belong to other wrappers.
const GO_TOOLS: [&str; 10] =
    ["asm", "buildid", "cgo", "compile", "cover", "covdata", "link", "pack", "preprofile", "vet"];

/// A tool of the go command, as the wrapper is asked to run it.
pub(crate) struct Invocation<'a> {
    /// Another wrapper and its arguments; usually empty.
    wrapper: Vec<&'a OsStr>,
    /// Path of the tool.
    pub(crate) tool: &'a Path,
    /// Arguments of the tool.
    pub(crate) args: &'a [OsString],
}

impl<'a> Invocation<'a> {
    /// Finds the tool; `None` if the command runs none of [`GO_TOOLS`].
    ///
    /// Another wrapper may come first, with arguments of its own before the tool's path. The go
    /// command names its tools by absolute paths.
    fn new(tool: &'a Path, args: &'a [OsString]) -> Option<Invocation<'a>> {
        let words: Vec<&OsStr> =
            std::iter::once(tool.as_os_str()).chain(args.iter().map(OsString::as_os_str)).collect();
        let at = words.iter().enumerate().position(|(at, word)| {
            let path = Path::new(word);
            let is_go_tool = GO_TOOLS.iter().any(|t| Some(OsStr::new(t)) == path.file_stem());
            is_go_tool && (at == 0 || path.is_absolute())
        })?;
        Some(Invocation {
            wrapper: words.get(..at).unwrap_or_default().to_vec(),
            tool: Path::new::<OsStr>(words.get(at).copied()?),
            args: args.get(at..).unwrap_or_default(),
        })
    }

    /// Returns the tool's name without its folder.
    fn name(&self) -> &str {
        self.tool.file_stem().and_then(OsStr::to_str).unwrap_or_default()
    }

    /// Returns the command that runs the tool with other arguments, within the other wrapper.
    pub(crate) fn command(&self, args: &[OsString]) -> Command {
        let mut words = self.wrapper.iter().copied().chain([self.tool.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(args);
        command
    }

    fn start_failed(&self) -> impl Fn(io::Error) -> ToolexecError {
        let tool = self.tool.to_owned();
        move |source| ToolexecError::Run { tool: tool.clone(), source }
    }
}

/// Runs `tool` with `args`, as requested by the go command. Seals the output of the linker, and
/// injects the probes of `plan` into compiled packages.
///
/// Returns the exit code for this process. For most tools it does not return: the tool replaces
/// this process.
///
/// # Errors
///
/// Returns [`ToolexecError`] if the tool cannot be started, the linker's output cannot be sealed, or
/// probes cannot be injected.
pub(crate) fn run(
    tool: &Path,
    args: &[OsString],
    plan: Option<&str>,
) -> Result<i32, ToolexecError> {
    let Some(invocation) = Invocation::new(tool, args) else {
        let source = Command::new(tool).args(args).exec();
        return Err(ToolexecError::Run { tool: tool.to_owned(), source });
    };
    match invocation.name() {
        "link" => run_linker(&invocation, plan),
        "compile" => match compile::run(&invocation, plan)? {
            compile::Compilation::Done(code) => Ok(code),
            compile::Compilation::Plain(args) => Err(replace_process(&invocation, &args)),
        },
        _ => Err(replace_process(&invocation, invocation.args)),
    }
}

/// Replaces this process by the tool. Returns only if that fails.
fn replace_process(invocation: &Invocation<'_>, args: &[OsString]) -> ToolexecError {
    invocation.start_failed()(invocation.command(args).exec())
}

fn run_linker(invocation: &Invocation<'_>, plan: Option<&str>) -> Result<i32, ToolexecError> {
    let start_failed = invocation.start_failed();
    let mut linker = invocation.command(invocation.args);
    if invocation.args.iter().any(|arg| arg == "-V=full") {
        let output =
            linker.stderr(std::process::Stdio::inherit()).output().map_err(&start_failed)?;
        let line = String::from_utf8_lossy(&output.stdout);
        let mut sealer = sealer_identity();
        if let Some(plan) = plan {
            Plan::mark_used(plan);
            sealer.push_str("-plan-");
            sealer.push_str(plan);
        }
        // The go command reads the answer; a closed pipe is its decision.
        let identity = sealing_identity(line.trim_end(), &sealer);
        cli_common::print(format!("{identity}\n").as_bytes()).map_err(start_failed)?;
        return Ok(exit_code(output.status));
    }
    if let Some(plan) = plan {
        link::check(&Plan::load(plan)?, invocation.args)?;
    }
    let status = linker.status().map_err(start_failed)?;
    if status.success()
        && let Some(path) = output_path(invocation.args)
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
pub(crate) fn sealer_identity() -> String {
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
    toolchain::option(args, "-o").map(PathBuf::from)
}

/// Seals the linker's output. Files in other formats, such as archives and programs for other
/// systems, stay unchanged.
fn seal_output(path: &Path) -> Result<(), ToolexecError> {
    if is_elf(path).map_err(|source| ToolexecError::Read { path: path.to_owned(), source })? {
        warn(seal_file(path, None, &Options::default())?.warnings);
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
            let args = args(rest);
            let invocation = Invocation::new(Path::new(tool), &args);
            let linker = invocation.filter(|invocation| invocation.name() == "link");
            assert_eq!(linker.map(|linker| linker.args.len()), found, "{tool} {rest:?}");
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
