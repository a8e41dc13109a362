//! The command line of `usdt-gen`: arguments, help and exit codes.
//!
//! Each subcommand has a module with its arguments and a `run` function that returns the exit code.

mod add_cmd;
mod command_error;
mod fmt_cmd;
mod generate_cmd;
mod go_module;
mod init_cmd;
mod inject_cmd;
mod interface_cmd;
mod language_args;
mod lsp_cmd;
mod output;
mod overlay_cmd;
mod seal_cmd;
mod verify_cmd;

use crate::toolexec;
use clap::{CommandFactory, Parser, Subcommand};
use cli_common::{Color, OK, Shell};
use command_error::CommandError;
use std::ffi::OsString;
use std::path::PathBuf;

/// Generates Go packages with static probes (USDT) and seals Go binaries
///
/// usdt-gen generates a cgo-free Go package from a DTrace provider definition. It seals the
/// binaries that use the package, so that bpftrace, bcc, perf, gdb, SystemTap and usdt-attach find
/// the probes.
#[derive(Debug, Parser)]
#[command(
    name = "usdt-gen",
    version,
    max_term_width = 80,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  Create a first definition in the current Go module:
    usdt-gen init
  Generate the package next to the definition:
    usdt-gen probes.d
  Do the same from `go generate`, with this line in a Go file:
    //go:generate usdt-gen probes.d
  Build a sealed binary:
    go build -toolexec='usdt-gen toolexec' ./cmd/app

Exit status:
  0  Success
  1  Success with findings: --check, diff or verify found something
  2  Invalid usage or input
  3  The system refused an operation"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    generate: generate_cmd::GenerateArgs,
    /// When to color the output
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto, global = true)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a package with an example definition in the current Go module
    Init(init_cmd::InitArgs),
    /// Write ready-made packages with probes into the current Go module
    ///
    /// The packages fire probes for HTTP, SQL, logs and more. They become part of your module, so
    /// nothing is fetched, and vendoring and `go install` work as for your own code.
    Add(add_cmd::AddArgs),
    /// Format definitions
    Fmt(fmt_cmd::FmtArgs),
    /// Serve an editor with diagnostics, hover, formatting and more
    ///
    /// The editor starts this command and talks to it on standard input and output, in the Language
    /// Server Protocol.
    Lsp(lsp_cmd::LspArgs),
    /// Add the sections that tracers read to a built binary
    Seal(seal_cmd::SealArgs),
    /// Check whether libbpf, bcc, gdb, perf and SystemTap accept the probes of a binary
    ///
    /// Prints the reason and a hint for each probe that a tracer does not fully accept, and exits
    /// with status 1 if there is one.
    Verify(verify_cmd::VerifyArgs),
    /// Report the interface changes between two definitions or binaries
    ///
    /// Exits with status 1 if a change breaks tracers of the old interface.
    Diff(interface_cmd::DiffArgs),
    /// Print the probe interface as JSON
    Schema(interface_cmd::InterfaceArgs),
    /// Print a reference of the probes as Markdown
    Doc(interface_cmd::InterfaceArgs),
    /// Print a bpftrace script for the probes
    ///
    /// The script prints every probe with its arguments, and a latency histogram for each pair of
    /// start and end probes.
    Bpftrace(interface_cmd::InterfaceArgs),
    /// Add probes to the Go runtime and standard library
    ///
    /// Writes changed copies of the sources of a stock toolchain and prints the path of the overlay
    /// file. Use it in the build:
    ///
    /// go build -overlay=$(usdt-gen overlay) -toolexec='usdt-gen toolexec'
    Overlay(overlay_cmd::OverlayArgs),
    /// Inject probes into functions during the build, without changing source
    ///
    /// Prints flags for the go command. While GOFLAGS has them, every build puts an entry and a
    /// return probe into the chosen functions, of your program and of its dependencies.
    Inject(inject_cmd::InjectArgs),
    /// Print the completion script of a shell
    ///
    /// To install it for bash, run as root:
    ///
    /// usdt-gen completions bash > /etc/bash_completion.d/usdt-gen
    Completions {
        /// Shell to print the script for
        shell: Shell,
    },
    /// Run a tool of the go command, seal what the linker writes, and inject probes
    ///
    /// Use it in the build:
    ///
    /// go build -toolexec='usdt-gen toolexec'
    Toolexec {
        /// Plan of the probes to inject, as `usdt-gen inject` prints it
        #[arg(long, value_name = "PLAN")]
        inject: Option<String>,
        /// Tool that the go command runs
        tool: PathBuf,
        /// Arguments of the tool
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Runs the command line of the process and returns its exit code.
///
/// Messages go to standard error. The exit code is 0 on success, 1 if the command succeeded and
/// found something, 2 for invalid usage or input, and 3 if the system refused an operation.
pub fn main() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // `--help` and `--version` also arrive here.
        Err(error) => return cli_common::report_usage(error),
    };
    let color = cli_common::color_messages(cli.color);
    let result = match cli.command {
        None => generate_cmd::run(&cli.generate, color),
        Some(Command::Init(args)) => init_cmd::run(&args),
        Some(Command::Add(args)) => add_cmd::run(&args),
        Some(Command::Fmt(args)) => fmt_cmd::run(&args, color),
        Some(Command::Lsp(args)) => lsp_cmd::run(&args),
        Some(Command::Seal(args)) => seal_cmd::run(&args),
        Some(Command::Verify(args)) => {
            verify_cmd::run(&args, cli.color.enabled(&std::io::stdout()))
        }
        Some(Command::Diff(args)) => interface_cmd::diff(&args, color),
        Some(Command::Schema(args)) => interface_cmd::schema(&args, color),
        Some(Command::Doc(args)) => interface_cmd::doc(&args, color),
        Some(Command::Bpftrace(args)) => interface_cmd::bpftrace(&args, color),
        Some(Command::Overlay(args)) => overlay_cmd::run(&args),
        Some(Command::Completions { shell }) => {
            let script = cli_common::completions(&mut command(), shell);
            output::print(&String::from_utf8_lossy(&script)).map(|()| OK)
        }
        Some(Command::Inject(args)) => inject_cmd::run(&args, color),
        Some(Command::Toolexec { inject, tool, args }) => {
            toolexec::run(&tool, &args, inject.as_deref()).map_err(CommandError::refused)
        }
    };
    result.unwrap_or_else(|CommandError { exit_code, message }| {
        cli_common::report_error(&message, color);
        exit_code
    })
}

/// Returns the clap definition of the command line, from which the manual pages are generated.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::command;

    /// Renders the help of a command and all its subcommands, as on a terminal of 80 columns.
    fn help_pages(command: &mut clap::Command, pages: &mut Vec<String>) {
        pages.push(command.render_help().to_string());
        pages.push(command.render_long_help().to_string());
        for subcommand in command.get_subcommands_mut() {
            help_pages(subcommand, pages);
        }
    }

    #[test]
    fn shows_help_without_arguments() {
        let error = command().try_get_matches_from(["usdt-gen"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        assert_eq!(error.exit_code(), cli_common::BAD_INPUT);
        assert!(error.to_string().contains("usdt-gen init"), "{error}");
    }

    #[test]
    fn help_fits_80_columns() {
        let mut command = command().term_width(80);
        command.build();
        let mut pages = Vec::new();
        help_pages(&mut command, &mut pages);
        assert!(pages.len() > 20, "{}", pages.len());
        for line in pages.iter().flat_map(|page| page.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
