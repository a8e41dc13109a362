//! Injects entry and return probes into functions during `go build`, without a change of source.
//!
//! 1. `rules` reads the user's rules and those of `presets`; `function_spec` and `pattern` know how
//!    functions and packages are named.
//! 2. `plan` turns rules into flags for the go command, which runs `usdt-gen toolexec` instead of
//!    the compiler.
//! 3. `compile` wraps one compilation: `helper` has a Go program rewrite the package's functions,
//!    `probes` describes their probes, and [`crate::golang`] generates the stubs. They are assembled
//!    and appended to the package's archive (`archive`).
//! 4. `link` checks before linking that no planned package was compiled without its probes.
//! 5. `list` does the same analysis without a build.
//! 6. `runtime_probes` adds the probes of [`crate::overlay`] to packages of the standard library.
//! 7. `cached` keeps plans and helpers, and removes them when they are not used any more.
//!
//! Nothing is imported by the changed packages, so the go command's own view of the build, with its
//! import configuration, module graph and vendor directory, stays true.

pub(crate) mod archive;
pub(crate) mod cached;
pub(crate) mod compile;
pub(crate) mod function_spec;
pub(crate) mod go_flags;
pub(crate) mod helper;
pub(crate) mod link;
pub(crate) mod list;
pub(crate) mod pattern;
pub(crate) mod plan;
pub(crate) mod presets;
pub(crate) mod probes;
pub(crate) mod rules;
pub(crate) mod runtime_probes;
pub(crate) mod toolchain;

use crate::golang::GenerateError;
use crate::overlay::OverlayError;
use stapsdt::escape::Escaped;
use std::io;
use std::path::PathBuf;
use usdt_files::WriteError;

/// Why probes could not be injected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InjectError {
    /// There is no directory for plans and the helper.
    #[error(
        "neither XDG_CACHE_HOME nor HOME is set, so there is no directory for the plan; set one of them"
    )]
    NoCache,
    /// The plan that GOFLAGS names is not in the cache.
    #[error("the plan `{}` is not in the cache; set GOFLAGS again: export GOFLAGS=\"$(usdt-gen inject …)\"", id.escape_default())]
    UnknownPlan {
        /// Identity of the plan.
        id: String,
    },
    /// A package is marked for injection, but no plan is named.
    #[error(
        "the package is marked with `-usdt=` but -toolexec names no plan; set GOFLAGS again: export GOFLAGS=\"$(usdt-gen inject …)\""
    )]
    NoPlan,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", Escaped::new(path))]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", Escaped::new(path))]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file in the cache cannot be written.
    #[error("{0}")]
    Cache(#[from] WriteError),
    /// A program cannot be started.
    #[error("cannot run {}: {source}", Escaped::new(program))]
    Run {
        /// Path of the program.
        program: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A program that the injection needs has failed.
    #[error("{what} failed:\n{output}")]
    Failed {
        /// What was run.
        what: String,
        /// What it wrote to standard error.
        output: String,
    },
    /// Rules for a package have mistakes, which have been reported.
    #[error("the rules for package `{package}` have mistakes")]
    Rules {
        /// Import path of the package.
        package: String,
    },
    /// The stubs could not be generated.
    #[error("cannot generate the probes: {0}")]
    Generate(#[from] GenerateError),
    /// The probes of the runtime do not fit the toolchain.
    #[error("{0}")]
    Overlay(#[from] OverlayError),
    /// A source file of the toolchain is not among the compiler's files.
    #[error(
        "package `{package}` cannot have runtime probes: `{file}` is not compiled from the toolchain's sources; build without coverage of this package, or leave its provider out of --runtime"
    )]
    NotCompiled {
        /// Import path of the package.
        package: String,
        /// Name of the file.
        file: String,
    },
    /// A planned package was compiled without its probes.
    #[error("{0}")]
    NotInjected(String),
}
