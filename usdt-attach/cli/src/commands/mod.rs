//! The command line of `usdt-attach`.

mod aggregate;
mod args;
mod attach;
mod buffer_size;
mod cost;
mod count;
mod default_entries;
mod doctor;
mod export;
mod go;
mod hist;
mod latency;
mod list;
mod process_arg;
mod record;
mod run;
mod snapshot;
mod trace;
pub(crate) mod waiting;

use crate::exit_code::exit_code;
use crate::output::check_write;
use crate::privileges::{Needs, restrict};
use clap::{CommandFactory, Parser, Subcommand};
use cli_common::{Color, FINDINGS, OK, Shell};
use usdt_attach::error::Result;

/// Finds USDT probes in binaries and processes, traces them and exports metrics.
#[derive(Debug, Parser)]
#[command(
    name = "usdt-attach",
    version,
    max_term_width = 80,
    after_help = "Examples:\n  usdt-attach list ./app                       the probes of a file\n  \
                  usdt-attach list -p 1234 'app:request-*'     of a process with its libraries\n  \
                  usdt-attach trace -p 1234 app:request-start  events until Ctrl-C\n  \
                  usdt-attach trace --json -- ./app -v         a command from its start\n  \
                  usdt-attach count --exe ./app --by method --interval 1s app:request-start\n  \
                  usdt-attach hist -p 1234 app:request-done status --linear 100,600,100\n  \
                  usdt-attach latency -p 1234 app:request-start app:request-done --by method\n  \
                  usdt-attach record -p 1234 -o trace.json     a file for ui.perfetto.dev\n  \
                  usdt-attach export -p 1234 --prometheus 127.0.0.1:9464\n  \
                  usdt-attach go -p 1234                       the Go runtime of a process\n\n\
                  Exit status: 0 success, 1 findings reported, 2 invalid usage or input,\n\
                  3 refused by the system (privileges, kernel, files)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to use colors
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the probes of a file, a process or all processes
    List(list::ListArgs),
    /// Print an event for each hit of a probe
    Trace(Box<trace::TraceArgs>),
    /// Write events to a file: for Perfetto, as CSV or as JSON lines
    Record(Box<record::RecordArgs>),
    /// Count hits in the kernel, by probe and argument
    Count(Box<count::CountArgs>),
    /// Print a histogram of an integer argument
    Hist(Box<hist::HistArgs>),
    /// Print a histogram of the time between two probes
    Latency(Box<latency::LatencyArgs>),
    /// Export metrics to Prometheus, or metrics and spans to OpenTelemetry
    Export(Box<export::ExportArgs>),
    /// Export from all processes of this host, as a service
    Agent(export::AgentArgs),
    /// Show goroutines, scheduling, memory and HTTP requests of a Go process
    Go(Box<go::GoArgs>),
    /// Make a Go process write its flight recording to a file
    Snapshot(snapshot::SnapshotArgs),
    /// Measure the overhead of tracing each probe
    Cost(Box<cost::CostArgs>),
    /// Attach a BPF program written in C for bcc
    Run(Box<run::RunArgs>),
    /// Check what works on this machine, and suggest fixes
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example for bash, as root:\n  usdt-attach completions bash > /etc/bash_completion.d/usdt-attach"
    )]
    Completions {
        /// Shell to print the script for
        shell: Shell,
    },
}

impl Command {
    /// What the command needs; `None` if it gives up nothing before it starts another program, which
    /// gets the privileges of this one.
    fn needs(&self) -> Option<Needs> {
        match self {
            Command::List(_) => Some(Needs { processes: true, ..Needs::default() }),
            Command::Trace(args) => args.needs(),
            Command::Record(args) => args.needs(),
            Command::Count(args) => args.needs(),
            Command::Hist(args) => args.needs(),
            Command::Latency(args) => args.needs(),
            Command::Export(args) => args.needs(),
            Command::Agent(_) => Some(export::SERVICE),
            Command::Go(args) => args.needs(),
            Command::Snapshot(_) => {
                Some(Needs { attaching: true, processes: true, ..Needs::default() })
            }
            Command::Cost(args) => args.needs(),
            // `doctor` reports the privileges that the other commands would have, and `run` starts
            // the compiler.
            Command::Doctor(_) | Command::Run(_) => None,
            Command::Completions { .. } => Some(Needs::default()),
        }
    }
}

/// Runs the command line of this process, and returns the exit code: 0 for success, 1 if a command
/// reported findings, 2 for invalid usage or input, 3 if the system refused.
pub fn main() -> i32 {
    let cli = match Cli::try_parse_from(process_arg::join_pids(std::env::args_os())) {
        Ok(cli) => cli,
        // `--help` and `--version` are errors to clap, too.
        Err(error) => return cli_common::report_usage(error),
    };
    usdt_attach::kernel::descriptors::raise_limit();
    if let Some(needs) = cli.command.needs() {
        restrict(needs);
    }
    // `false` if a command reported findings.
    let result = match &cli.command {
        Command::List(args) => success(list::list(args, cli.color)),
        Command::Trace(args) => success(trace::trace(args, cli.color)),
        Command::Record(args) => success(record::record(args)),
        Command::Count(args) => success(count::count(args, cli.color)),
        Command::Hist(args) => success(hist::hist(args, cli.color)),
        Command::Latency(args) => success(latency::latency(args, cli.color)),
        Command::Export(args) => success(export::export(args)),
        Command::Agent(args) => success(export::agent(args)),
        Command::Go(args) => success(go::go(args, cli.color)),
        Command::Snapshot(args) => success(snapshot::snapshot(args)),
        Command::Cost(args) => cost::cost(args, cli.color),
        Command::Doctor(args) => doctor::doctor(args, cli.color),
        Command::Completions { shell } => {
            let script = cli_common::completions(&mut command(), *shell);
            success(check_write(cli_common::print(&script)))
        }
        Command::Run(args) => success(run::run_file(args)),
    };
    match result {
        Ok(true) => OK,
        Ok(false) => FINDINGS,
        Err(error) => {
            cli_common::report_error(&format!("{error:#}"), cli_common::color_messages(cli.color));
            exit_code(&error)
        }
    }
}

/// The result of a command that reports no findings.
fn success(result: Result<()>) -> Result<bool> {
    result.map(|()| true)
}

/// The definition of the command line, from which manuals are generated.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn help_fits_80_columns() {
        let mut root = command();
        root.build();
        let names: Vec<String> =
            root.get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect();
        let mut pages = vec![root.render_long_help().to_string()];
        for name in names.iter().filter(|name| *name != "help") {
            let subcommand = root.find_subcommand_mut(name).unwrap();
            pages.push(subcommand.render_help().to_string());
            pages.push(subcommand.render_long_help().to_string());
        }
        for line in pages.iter().flat_map(|page| page.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
