//! Runs programs and shows what runs.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The message of a failed task.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

/// The result of a task.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Converts any error into a failure that says what was attempted.
pub(crate) trait Explain<T> {
    fn explain(self, what: &str) -> Outcome<T>;
}

impl<T, E: std::fmt::Display> Explain<T> for Result<T, E> {
    fn explain(self, what: &str) -> Outcome<T> {
        self.map_err(|e| Failure(format!("{what}: {e}")))
    }
}

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Returns a command that runs in the root of the workspace.
pub(crate) fn command(program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Returns a command with the privileges of root, through sudo if necessary.
pub(crate) fn privileged(program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    if is_root() {
        return command(program, args);
    }
    let mut sudo = command("sudo", &[]);
    sudo.arg("--").arg(program).args(args);
    sudo
}

/// Like [`privileged`], with environment variables, which sudo would drop.
pub(crate) fn privileged_with(
    environment: &[(&'static str, OsString)],
    program: impl AsRef<OsStr>,
    args: &[&str],
) -> Command {
    let mut command = privileged("env", &[]);
    for (name, value) in environment {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        command.arg(word);
    }
    command.arg(program).args(args);
    command
}

/// Returns true if this process has user id 0.
pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| {
        s.lines().any(|l| {
            l.strip_prefix("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
        })
    })
}

/// Prints the command and runs it. An exit status other than 0 is a failure.
pub(crate) fn execute(command: &mut Command) -> Outcome {
    let line = display(command);
    eprintln!("$ {line}");
    let status = command.status().explain(&format!("cannot run {line}"))?;
    if status.success() { Ok(()) } else { Err(Failure(format!("`{line}` failed ({status})"))) }
}

/// Runs a command, and prints and repeats it only if it fails.
pub(crate) fn execute_quietly(command: &mut Command) -> Outcome {
    let status = command.status().explain(&format!("cannot run {command:?}"))?;
    if status.success() { Ok(()) } else { execute(command) }
}

/// Installs a subcommand of cargo if it is missing.
pub(crate) fn install_cargo_tool(subcommand: &str) -> Outcome {
    if command("cargo", &[subcommand, "--version"]).output().is_ok_and(|out| out.status.success()) {
        return Ok(());
    }
    execute(&mut command("cargo", &["install", "--locked", &format!("cargo-{subcommand}")]))
}

/// Runs a command that must succeed and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let line = display(command);
    let output =
        command.stderr(Stdio::inherit()).output().explain(&format!("cannot run {line}"))?;
    if !output.status.success() {
        return Err(Failure(format!("`{line}` failed ({})", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Formats a command line for display, with paths relative to the workspace.
pub(crate) fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|w| {
            let word = w.to_string_lossy();
            let program = Path::new(word.as_ref());
            let word = program
                .strip_prefix(root())
                .map_or(word.clone(), |p| p.to_string_lossy().into_owned().into());
            if word.contains([' ', '\'', '*', '"']) {
                format!("'{}'", word.replace('\'', "'\\''"))
            } else {
                word.into_owned()
            }
        })
        .collect();
    words.join(" ")
}

/// Returns the paths of the existing files that git tracks or does not ignore, relative to the
/// workspace.
pub(crate) fn known_files() -> Outcome<Vec<String>> {
    let known = output(&mut command("git", &["ls-files", "-co", "--exclude-standard"]))?;
    Ok(known.lines().filter(|file| root().join(file).is_file()).map(str::to_owned).collect())
}

/// Copies the files known to git, in their current state, to `folder/tree`.
pub(crate) fn copy_tree(folder: &Path) -> Outcome {
    let tree = folder.join("tree");
    // The folder may not exist yet.
    let _ = std::fs::remove_dir_all(&tree);
    std::fs::create_dir_all(&tree).explain("cannot create a folder below target")?;
    for file in known_files()? {
        let to = tree.join(&file);
        std::fs::create_dir_all(to.parent().unwrap_or(&tree))
            .explain("cannot create a folder below target")?;
        std::fs::copy(root().join(&file), to).explain(&format!("cannot copy {file}"))?;
    }
    Ok(())
}

/// A child process that is killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
