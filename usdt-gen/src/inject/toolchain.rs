//! The toolchain that runs a build, found from the path of one of its tools.

use super::InjectError;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Go toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// Its root directory.
    pub(crate) goroot: PathBuf,
}

/// Architectures that probes exist for.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

impl Toolchain {
    /// Returns the toolchain of a tool such as `GOROOT/pkg/tool/linux_amd64/compile`.
    pub(crate) fn of_tool(tool: &Path) -> Option<Toolchain> {
        let goroot = tool.ancestors().nth(4)?;
        goroot.join("src/runtime").is_dir().then(|| Toolchain { goroot: goroot.to_owned() })
    }

    /// Returns the go command.
    pub(crate) fn go(&self) -> PathBuf {
        self.goroot.join("bin/go")
    }

    /// Returns true if the assembler has to be told that it assembles package runtime: that of Go 1.21
    /// does not know it from the package's path.
    pub(crate) fn names_runtime_assembly(&self) -> bool {
        let version = std::fs::read_to_string(self.goroot.join("VERSION")).unwrap_or_default();
        version
            .strip_prefix("go1.21")
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Returns the directory with `textflag.h`.
    pub(crate) fn include(&self) -> PathBuf {
        self.goroot.join("pkg/include")
    }
}

/// Returns the architecture that the go command builds for, if probes exist for the platform. The
/// go command sets the variables for its tools.
pub(crate) fn target_architecture() -> Option<String> {
    let goos = std::env::var("GOOS").ok();
    if goos.is_some_and(|goos| goos != "linux") {
        return None;
    }
    let arch = std::env::var("GOARCH").unwrap_or_else(|_| {
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned()
    });
    ARCHITECTURES.contains(&arch.as_str()).then_some(arch)
}

/// Runs a command that must succeed, and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command, what: &str) -> Result<Vec<u8>, InjectError> {
    let program = PathBuf::from(command.get_program());
    let out = command.output().map_err(|source| InjectError::Run { program, source })?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let output = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(InjectError::Failed { what: what.to_owned(), output })
}

/// Returns a command that runs `program` without the go command's settings of the current build.
pub(crate) fn isolated(program: &Path) -> Command {
    let mut command = Command::new(program);
    let kept = ["GOCACHE", "GOPATH", "GOMODCACHE", "GOTMPDIR"];
    for (name, _) in std::env::vars_os() {
        let is_setting = name.to_str().is_some_and(|name| {
            (name.starts_with("GO") || name.starts_with("CGO_") || name == "TOOLEXEC_IMPORTPATH")
                && !kept.contains(&name)
        });
        if is_setting {
            command.env_remove(name);
        }
    }
    for (name, value) in [
        ("GOENV", "off"),
        ("GOFLAGS", ""),
        ("GOWORK", "off"),
        ("GO111MODULE", "on"),
        ("GOTOOLCHAIN", "local"),
        ("CGO_ENABLED", "0"),
    ] {
        command.env(name, value);
    }
    command
}

/// Returns the value of a tool's option, in either spelling.
pub(crate) fn option<'a>(args: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == name {
            return args.next().map(OsString::as_os_str);
        }
        let value = arg.as_bytes().strip_prefix(name.as_bytes());
        if let Some(value) = value.and_then(|value| value.strip_prefix(b"=")) {
            return Some(OsStr::from_bytes(value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn finds_options_in_both_spellings_and_of_any_bytes() {
        let odd = OsStr::from_bytes(b"/tmp/\xff/a.out");
        let joined = OsString::from_vec([b"-o=", odd.as_bytes()].concat());
        for args in [vec!["-a".into(), "-o".into(), odd.to_owned()], vec![joined, "x".into()]] {
            assert_eq!(option(&args, "-o"), Some(odd));
            assert_eq!(option(&args, "-p"), None);
        }
        assert_eq!(option(&["-o".into()], "-o"), None);
        assert_eq!(option(&["-oval".into()], "-o"), None);
    }
}
