//! What a machine offers after setting up, and commands that use it.

use crate::command::{Outcome, command, execute, root};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The program that links libbcc.
pub(crate) const BCC_HELPER: &str = "usdt-attach-bcc";

/// The toolchains, and our own tools once they are built.
pub(crate) struct Tools {
    /// Folder of the `go` command.
    pub(crate) go_bin: PathBuf,
    /// Headers for `--backend bcc`; `None` if they or libbcc are missing or were not asked for.
    pub(crate) bcc: Option<KernelHeaders>,
}

impl Tools {
    /// A command of the Go toolchain, with freshly built tools of ours on its path.
    pub(crate) fn go(&self, program: &str, args: &[&str]) -> Command {
        let mut command = command(self.go_bin.join(program), args);
        command.env("PATH", self.path());
        command
    }

    /// `PATH` with our own tools and the Go toolchain first.
    pub(crate) fn path(&self) -> String {
        let rest = std::env::var("PATH").unwrap_or_default();
        format!("{}:{}:{rest}", root().join("target/debug").display(), self.go_bin.display())
    }

    /// Environment of what uses our tools and other tracers.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let headers = self.bcc.iter().flat_map(KernelHeaders::environment);
        [("PATH", self.path().into())].into_iter().chain(headers).collect()
    }

    /// A cargo command over the workspace.
    pub(crate) fn cargo(&self, subcommand: &str, args: &[&str]) -> Command {
        let mut command = command("cargo", &[subcommand]);
        command.args(args).envs(self.environment());
        command
    }

    /// Builds both tools, and `usdt-attach-bcc` where libbcc is installed.
    pub(crate) fn build(&self) -> Outcome {
        execute(self.with_bcc_helper(
            &mut self.cargo("build", &["-p", "usdt-gen", "-p", "usdt-attach-cli", "--bins"]),
        ))
    }

    /// Builds the tools and the library's examples, as the tests use them.
    pub(crate) fn build_with_examples(&self) -> Outcome {
        let packages = ["-p", "usdt-gen", "-p", "usdt-attach", "-p", "usdt-attach-cli"];
        let mut build = self.cargo("build", &packages);
        build.args(["--bins", "--examples", "--features", "usdt-attach/tokio"]);
        execute(self.with_bcc_helper(&mut build))
    }

    /// Adds the helper of the bcc back end to the packages of a build, where libbcc is installed.
    pub(crate) fn with_bcc_helper<'a>(&self, build: &'a mut Command) -> &'a mut Command {
        if self.bcc.is_some() {
            build.args(["-p", BCC_HELPER]);
        }
        build
    }
}

/// Where tracers that compile find the kernel's headers.
pub(crate) enum KernelHeaders {
    /// Where they look by themselves.
    Installed,
    /// Where the environment says.
    Elsewhere {
        /// Folder of headers in one tree, in which libbcc includes `./include/linux/kconfig.h`.
        merged: PathBuf,
        /// Folder in which modules are built, for SystemTap.
        build: PathBuf,
    },
}

impl KernelHeaders {
    /// Environment variables for the tracers.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        match self {
            KernelHeaders::Installed => Vec::new(),
            KernelHeaders::Elsewhere { merged, build } => {
                vec![("BCC_KERNEL_SOURCE", merged.into()), ("SYSTEMTAP_RELEASE", build.into())]
            }
        }
    }
}
