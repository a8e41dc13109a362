//! The program `usdt-attach-bcc`, which compiles C with libbcc in a process of its own.

use super::answer::{self, Answer, Decoded, Failure};
use super::exchange::{Limits, exchange};
use crate::error::{Error, Result};
use rustix::fs::{Access, access};
use stapsdt::escape::{Escaped, escape_lines};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The file name of the program.
const NAME: &str = "usdt-attach-bcc";

/// libbcc takes 0.2 s to 2 s. An answer has 16 characters for each instruction.
const LIMITS: Limits =
    Limits { time: Duration::from_secs(60), answer: 64 << 20, diagnostics: 64 << 10 };

/// The location of the program `usdt-attach-bcc`.
///
/// Each compilation runs the program once, waits up to a minute for its answer, and leaves no process
/// behind.
///
/// ```no_run
/// use usdt_attach::backend::bcc::{self, BccHelper};
/// use usdt_attach::session::Mechanism;
///
/// # fn main() -> usdt_attach::Result<()> {
/// let helper = BccHelper::at("/opt/app/usdt-attach-bcc");
/// helper.check()?;
/// let backend = bcc::backend(helper, Mechanism::Auto);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BccHelper {
    path: PathBuf,
}

/// The result of a compilation.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) answer: Answer,
    /// The compiler's messages, such as warnings. Often empty.
    pub(super) diagnostics: String,
}

impl BccHelper {
    /// The program at this path, which is not checked.
    pub fn at(path: impl Into<PathBuf>) -> BccHelper {
        BccHelper { path: path.into() }
    }

    /// Finds the program next to the running executable or, if it is not there, on `PATH`.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) when it is in
    /// neither place. The message says how to install it.
    pub fn find() -> Result<BccHelper> {
        let exe = std::env::current_exe().ok();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let exe_folder = exe.iter().filter_map(|exe| exe.parent().map(Path::to_owned));
        find_in(exe_folder.chain(std::env::split_paths(&path)))
    }

    /// The path of the program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the program runs, has the version of this library, and finds kernel headers.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported). The message says
    /// what to do.
    pub fn check(&self) -> Result<()> {
        self.run(&["--check".to_owned()], "").map(drop)
    }

    /// Compiles these functions of a source that declares no tables. Without names, compiles all
    /// functions and tables.
    pub(super) fn compile(&self, source: &str, functions: &[String]) -> Result<Compiled> {
        self.run(functions, source)
    }

    fn run(&self, args: &[String], source: &str) -> Result<Compiled> {
        let failed =
            |problem: String| Error::unsupported(format!("{} {problem}", Escaped::new(&self.path)));
        let reply = exchange(Command::new(&self.path).args(args), source.as_bytes(), LIMITS)
            .map_err(|error| failed(error.to_string()))?;
        // They quote the source, which may contain control characters.
        let diagnostics = String::from_utf8_lossy(&reply.diagnostics);
        let diagnostics = escape_lines(diagnostics.trim_end()).into_owned();
        match answer::decode(&reply.answer) {
            Ok(Decoded::Answer(answer)) => Ok(Compiled { answer, diagnostics }),
            Ok(Decoded::Failure(failure)) => Err(explain(&failure, &diagnostics)),
            Err(answer::BadAnswer::Version(_)) => {
                let release = env!("CARGO_PKG_VERSION");
                Err(failed(format!("is not of this release; install {NAME} {release}")))
            }
            Err(bad_answer) => {
                let failure =
                    reply.status.filter(|status| !status.success() && reply.answer.is_empty());
                let problem = failure.map_or_else(
                    || bad_answer.to_string(),
                    |status| format!("has failed ({status})"),
                );
                Err(failed(problem).with_details(&diagnostics))
            }
        }
    }
}

fn find_in(folders: impl Iterator<Item = PathBuf>) -> Result<BccHelper> {
    // A relative folder on PATH depends on the current directory, which others may control.
    let paths = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(NAME));
    let mut programs = paths.filter(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok());
    programs.next().map(BccHelper::at).ok_or_else(|| {
        Error::unsupported(format!(
            "the bcc back end needs the program {NAME}, which is neither next to this program nor on PATH; install \
             the package {NAME}, or build it with `cargo install --path usdt-attach/bcc` (needs libbpfcc-dev)"
        ))
    })
}

fn explain(failure: &Failure, diagnostics: &str) -> Error {
    Error::unsupported(match failure {
        Failure::Headers { path } => format!(
            "libbcc needs kernel headers at {}; install the linux-headers package, or use the embedded back end",
            Escaped::new(path)
        ),
        Failure::Source { problem } => format!("the program {problem}"),
        Failure::Compile => {
            let mut details = diagnostics.to_owned();
            // libbcc creates maps while it compiles.
            if diagnostics.contains("Operation not permitted") {
                details.push_str(
                    "\nusdt-attach-bcc needs CAP_BPF for a program with tables; run as root",
                );
            }
            return Error::unsupported("libbcc rejects the program").with_details(&details);
        }
        Failure::Function { name } => format!("the program does not define the function `{name}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Creates a shell script in place of the program.
    fn write_script(folder: &Path, script: &str) -> BccHelper {
        let path = folder.join(NAME);
        // Another process writes the file. If this process did, a child that another test starts
        // meanwhile could inherit the writable descriptor, and executing the file would fail (ETXTBSY).
        let mut write = Command::new("sh");
        write.args(["-c", "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\""]).arg(&path).arg(script);
        assert!(write.status().unwrap().success());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        BccHelper::at(path)
    }

    #[test]
    fn finds_the_first_executable_program() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        for folder in [&first, &second] {
            std::fs::create_dir(folder).unwrap();
        }
        let folders = || ["".into(), ".".into(), first.clone(), second.clone()].into_iter();
        let missing = find_in(folders()).unwrap_err().to_string();
        assert!(
            missing.starts_with("the bcc back end needs the program usdt-attach-bcc, which is"),
            "{missing}"
        );
        let last = write_script(&second, "");
        assert_eq!(find_in(folders()).unwrap(), last);
        // A folder and a file that is not executable are skipped.
        std::fs::create_dir(first.join(NAME)).unwrap();
        assert_eq!(find_in(folders()).unwrap(), last);
        std::fs::remove_dir(first.join(NAME)).unwrap();
        std::fs::write(first.join(NAME), "").unwrap();
        std::fs::set_permissions(first.join(NAME), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(find_in(folders()).unwrap(), last);
        std::fs::set_permissions(first.join(NAME), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in(folders()).unwrap().path(), first.join(NAME));
    }

    #[test]
    fn explains_every_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = Escaped::new(&folder.path().join(NAME)).to_string();
        let error =
            |script: &str| write_script(folder.path(), script).check().unwrap_err().to_string();
        assert_eq!(error("exit 7"), format!("{path} has failed (exit status: 7)"));
        assert_eq!(
            error("echo oops >&2; exit 7"),
            format!("{path} has failed (exit status: 7):\noops")
        );
        assert_eq!(error("kill -9 $$"), format!("{path} has failed (signal: 9 (SIGKILL))"));
        assert!(error("echo garbage").starts_with(&format!("{path} returns an invalid answer: ")));
        assert!(error("").starts_with(&format!("{path} returns an invalid answer: EOF")));
        assert_eq!(
            error("echo '{\"protocol\": 7}'"),
            format!(
                "{path} is not of this release; install usdt-attach-bcc {}",
                env!("CARGO_PKG_VERSION")
            )
        );
        let failure = |kind: &str, stderr: &str| {
            error(&format!(
                "printf '{stderr}' >&2; echo '{{\"protocol\":1,\"error\":{{{kind}}},\"functions\":[],\"tables\":[]}}'"
            ))
        };
        assert_eq!(
            failure("\"kind\":\"headers\",\"path\":\"/x/build\"", ""),
            "libbcc needs kernel headers at /x/build; install the linux-headers package, or use the embedded back end"
        );
        assert_eq!(
            failure("\"kind\":\"compile\"", "a.c:1:2: error: \\033[31mwhat\\n"),
            "libbcc rejects the program:\na.c:1:2: error: \\u{1b}[31mwhat"
        );
        assert!(
            failure(
                "\"kind\":\"compile\"",
                "could not open bpf map: by, error: Operation not permitted"
            )
            .ends_with("\nusdt-attach-bcc needs CAP_BPF for a program with tables; run as root")
        );
        assert_eq!(
            failure("\"kind\":\"function\",\"name\":\"f\"", ""),
            "the program does not define the function `f`"
        );
        assert_eq!(
            failure("\"kind\":\"source\",\"problem\":\"is not UTF-8\"", ""),
            "the program is not UTF-8"
        );
        let missing = BccHelper::at("/nonexistent/helper").check().unwrap_err().to_string();
        assert_eq!(
            missing,
            "/nonexistent/helper cannot be run: No such file or directory (os error 2)"
        );
    }
}
