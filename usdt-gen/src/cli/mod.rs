//! The command line of `usdt-gen`.

mod fmt_cmd;
mod generate_cmd;
mod init_cmd;
mod interface_cmd;
mod language_args;
mod overlay_cmd;
mod verify_cmd;

use crate::seal::{FileError, Options, seal_file};
use crate::toolexec;
use clap::{CommandFactory, Parser, Subcommand};
use cli_common::{BAD_INPUT, Color, FINDINGS, OK, REFUSED, Shell, say};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Static probes (USDT) for Go: generates a cgo-free package from a DTrace provider definition and seals binaries
/// so that bpftrace, bcc, perf, gdb, SystemTap and usdt-attach find the probes.
#[derive(Debug, Parser)]
#[command(
    name = "usdt-gen",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  usdt-gen init                                a first definition, in the module you are in\n  \
                  usdt-gen probes.d                            the package, beside the file\n  \
                  //go:generate usdt-gen probes.d              the same from `go generate`\n  \
                  go build -toolexec='usdt-gen toolexec' ./x   a sealed binary\n\n\
                  Exit status: 0 done, 1 done and something found (--check, diff, verify),\n2 bad usage or input, 3 the system refused."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    generate: generate_cmd::GenerateArgs,
    /// When to color messages
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin: a package with a first definition in the Go module that you are in, generated and ready to call
    Init(init_cmd::InitArgs),
    /// Bring definitions into their canonical form
    Fmt {
        /// Definitions, changed in place; `-` reads standard input and writes standard output
        #[arg(required = true, value_name = "PROBES.D")]
        files: Vec<PathBuf>,
        /// Write nothing; show what would change and exit with 1 if anything would
        #[arg(long)]
        check: bool,
    },
    /// Add the sections that tracers look for to a built binary
    Seal {
        /// Binary built with a generated package in it
        binary: PathBuf,
        /// Write the sealed binary here instead of in place
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
        /// Leave the goroutine id out of the arguments
        #[arg(long)]
        no_goid: bool,
        /// Repair the notes of other toolchains, too: padded descriptors, missing .stapsdt.base and .probes,
        /// section order, 32-bit register names on arm64
        #[arg(long)]
        fix: bool,
        /// Describe function entries of Go's runtime and standard library, too, in a binary built without their probes:
        /// every tracer finds them, and pays a trap for each call
        #[arg(long)]
        entries: bool,
    },
    /// Whether libbpf, bcc, gdb, perf and SystemTap accept the probes of a binary, or why not; exit status 1 if
    /// any does not
    Verify {
        /// Binary of any language
        binary: PathBuf,
        /// One JSON object per consumer and probe
        #[arg(long)]
        json: bool,
    },
    /// What breaks a consumer between two definitions or binaries; exit status 1 if anything does
    Diff {
        /// Definition or binary as it was
        old: PathBuf,
        /// Definition or binary as it is
        new: PathBuf,
        #[command(flatten)]
        language: language_args::LanguageArgs,
        /// One JSON object per change
        #[arg(long)]
        json: bool,
    },
    /// The interface as JSON
    Schema {
        /// Definition or binary
        source: PathBuf,
        #[command(flatten)]
        language: language_args::LanguageArgs,
    },
    /// A reference of the probes as Markdown
    Doc {
        /// Definition or binary
        source: PathBuf,
        #[command(flatten)]
        language: language_args::LanguageArgs,
    },
    /// A bpftrace script that prints every probe and the latency of start and end pairs
    Bpftrace {
        /// Definition or binary
        source: PathBuf,
        #[command(flatten)]
        language: language_args::LanguageArgs,
    },
    /// The probes of Go's runtime and standard library for a stock toolchain: prints a file for
    /// go build -overlay=$(usdt-gen overlay) -toolexec='usdt-gen toolexec'
    Overlay(overlay_cmd::OverlayArgs),
    /// Print completions for a shell
    ///
    /// For bash, as root: usdt-gen completions bash > /etc/bash_completion.d/usdt-gen
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Seal inside the build: go build -toolexec='usdt-gen toolexec'
    Toolexec {
        /// Tool that the go command wants to run
        tool: PathBuf,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// A message and the exit code that goes with it.
struct Failure(i32, String);

/// Runs the command line; returns the exit code.
pub fn main() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way, too; there is nowhere left to report a closed stdout.
            let _ = error.print();
            return error.exit_code();
        }
    };
    let color = cli.color.enabled(&std::io::stderr());
    let result = match cli.command {
        None => generate_cmd::run(&cli.generate, color),
        Some(Command::Init(args)) => init_cmd::run(&args),
        Some(Command::Fmt { files, check }) => fmt_cmd::run(&files, check, color),
        Some(Command::Schema { source, language }) => {
            interface_cmd::schema(&source, &language, color)
        }
        Some(Command::Doc { source, language }) => interface_cmd::doc(&source, &language, color),
        Some(Command::Bpftrace { source, language }) => {
            interface_cmd::bpftrace(&source, &language, color)
        }
        Some(Command::Diff { old, new, language, json }) => {
            interface_cmd::diff(&old, &new, &language, json, color)
        }
        Some(Command::Seal { binary, output, no_goid, fix, entries }) => seal_binary(
            &binary,
            output.as_deref(),
            Options { goid: !no_goid, fix, function_entries: entries },
        ),
        Some(Command::Verify { binary, json }) => {
            verify_cmd::run(&binary, json, cli.color.enabled(&std::io::stdout()))
        }
        Some(Command::Overlay(args)) => overlay_cmd::run(&args),
        Some(Command::Completions { shell }) => {
            let script = cli_common::completions(&mut command(), shell);
            print(&String::from_utf8_lossy(&script)).map(|()| OK)
        }
        Some(Command::Toolexec { tool, args }) => {
            toolexec::run(&tool, &args).map_err(|e| Failure(REFUSED, e.to_string()))
        }
    };
    result.unwrap_or_else(|Failure(code, message)| {
        if !message.is_empty() {
            cli_common::report_error(&message, color);
        }
        code
    })
}

/// The command line itself, for manuals.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Data on standard output; a closed pipe ends it quietly.
fn print(text: &str) -> Result<(), Failure> {
    cli_common::print(text.as_bytes())
        .map_err(|e| Failure(REFUSED, format!("cannot write the output: {e}")))
}

fn seal_binary(path: &Path, output: Option<&Path>, options: Options) -> Result<i32, Failure> {
    let report = seal_file(path, output, options).map_err(|e| {
        let code = if matches!(e, FileError::Write(_)) { REFUSED } else { BAD_INPUT };
        Failure(code, e.to_string())
    })?;
    if report.probes + report.third_party == 0 {
        let way = if options.function_entries {
            "it has no functions of Go that the catalogue knows, either"
        } else if options.fix {
            "it has no notes to repair, either"
        } else {
            "does the program call a function that usdt-gen generated?"
        };
        say(&format!("{}: no probes; {way}", path.display()));
    }
    Ok(OK)
}
