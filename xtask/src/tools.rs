//! The tools of a machine that is set up, and commands that use them.

use crate::command::{Outcome, command, execute, root};
use crate::setup;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The program that links libbcc.
pub(crate) const BCC_HELPER: &str = "usdt-attach-bcc";

/// The Go toolchain and the kernel headers; our own tools once they are built.
pub(crate) struct Tools {
    /// Folder of the `go` command.
    pub(crate) go_bin: PathBuf,
    /// Kernel headers for `--backend bcc`; `None` if they or libbcc are missing or were not
    /// requested.
    pub(crate) bcc: Option<KernelHeaders>,
}

impl Tools {
    /// Returns a command of the Go toolchain, with our debug builds on its path.
    pub(crate) fn go(&self, program: &str, args: &[&str]) -> Command {
        let mut command = command(self.go_bin.join(program), args);
        command.env("PATH", self.path());
        command
    }

    /// Returns `PATH` with our own tools, the Go toolchain and Delve first.
    pub(crate) fn path(&self) -> String {
        let rest = std::env::var("PATH").unwrap_or_default();
        let ours = [root().join("target/debug"), self.go_bin.clone(), setup::delve_folder()];
        let ours = ours.map(|folder| folder.display().to_string()).join(":");
        format!("{ours}:{rest}")
    }

    /// Returns the environment of commands that use our tools and other tracers.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let headers = self.bcc.iter().flat_map(KernelHeaders::environment);
        [("PATH", self.path().into())].into_iter().chain(headers).collect()
    }

    /// Returns a cargo command in the workspace.
    pub(crate) fn cargo(&self, subcommand: &str, args: &[&str]) -> Command {
        let mut command = command("cargo", &[subcommand]);
        command.args(args).envs(self.environment());
        command
    }

    /// Builds both tools, and `usdt-attach-bcc` if libbcc is installed.
    pub(crate) fn build(&self) -> Outcome {
        execute(self.with_bcc_helper(
            &mut self.cargo("build", &["-p", "usdt-gen", "-p", "usdt-attach-cli", "--bins"]),
        ))
    }

    /// Builds the tools and the examples of the library, as the tests use them.
    pub(crate) fn build_with_examples(&self) -> Outcome {
        let packages = ["-p", "usdt-gen", "-p", "usdt-attach", "-p", "usdt-attach-cli"];
        let mut build = self.cargo("build", &packages);
        build.args(["--bins", "--examples", "--features", "usdt-attach/tokio"]);
        execute(self.with_bcc_helper(&mut build))
    }

    /// Adds the helper of the bcc backend to a build if libbcc is installed.
    pub(crate) fn with_bcc_helper<'a>(&self, build: &'a mut Command) -> &'a mut Command {
        if self.bcc.is_some() {
            build.args(["-p", BCC_HELPER]);
        }
        build
    }
}

/// Location of the kernel headers for tracers that compile C.
pub(crate) enum KernelHeaders {
    /// In the default location.
    Installed,
    /// In a location that environment variables name.
    Elsewhere {
        /// A single tree of headers, in which libbcc includes `./include/linux/kconfig.h`.
        merged: PathBuf,
        /// The build folder of kernel modules, for SystemTap.
        build: PathBuf,
    },
}

impl KernelHeaders {
    /// Returns the environment variables that name the location.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        match self {
            KernelHeaders::Installed => Vec::new(),
            KernelHeaders::Elsewhere { merged, build } => {
                vec![("BCC_KERNEL_SOURCE", merged.into()), ("SYSTEMTAP_RELEASE", build.into())]
            }
        }
    }
}
