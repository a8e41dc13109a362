//! The command line of `usdt-attach`.

mod aggregate;
mod args;
mod attach;
mod cost;
mod count;
mod doctor;
mod export;
mod go;
mod hist;
mod latency;
mod list;
mod record;
mod run;
mod snapshot;
mod trace;

use crate::exit_code::exit_code;
use crate::output::written;
use clap::{CommandFactory, Parser, Subcommand};
use cli_common::{Color, FINDINGS, OK, Shell};
use std::io;
use usdt_attach::error::Result;

/// Finds static probes (USDT) in binaries and processes of any language, and enables them.
#[derive(Debug, Parser)]
#[command(
    name = "usdt-attach",
    version,
    after_help = "Examples:\n  usdt-attach list ./app                       probes of a file\n  \
                  usdt-attach list -p 1234 'app:request-*'     of a process and its libraries\n  \
                  usdt-attach trace -p 1234 app:request-start  events, until Ctrl-C\n  \
                  usdt-attach trace --json -- ./app -v         a command, from its start\n  \
                  usdt-attach count --exe ./app --by method --interval 1s app:request-start\n  \
                  usdt-attach hist -p 1234 app:request-done status --linear 100,600,100\n  \
                  usdt-attach latency -p 1234 app:request-start app:request-done --by method\n  \
                  usdt-attach record -p 1234 -o trace.json     a file for ui.perfetto.dev\n  \
                  usdt-attach export -p 1234 --prometheus 127.0.0.1:9464\n  \
                  usdt-attach go -p 1234                       what a Go program's runtime does\n\n\
                  Exit status: 0 done, 1 done and findings reported, 2 bad usage or input, 3 the system refused."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to color output and messages
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the probes of a file, of a process, or of all
    List(list::ListArgs),
    /// Enable probes and print their events
    Trace(Box<trace::TraceArgs>),
    /// Enable probes and write their events to a file: for Perfetto, as CSV, as JSON lines
    Record(Box<record::RecordArgs>),
    /// Count hits in the kernel, by probe and by arguments
    Count(Box<count::CountArgs>),
    /// Count the values of an argument by size, in the kernel
    Hist(Box<hist::HistArgs>),
    /// Measure the time between two probes, in the kernel
    Latency(Box<latency::LatencyArgs>),
    /// Export what probes say: metrics for Prometheus, metrics and spans for an OpenTelemetry collector
    Export(Box<export::ExportArgs>),
    /// Export from every process of this host that has the probes, as a service
    Agent(export::AgentArgs),
    /// Show what a Go program's runtime does: goroutines, waiting, memory, HTTP requests
    Go(Box<go::GoArgs>),
    /// Have a Go program write what its flight recorder has kept, and print where it is
    Snapshot(snapshot::SnapshotArgs),
    /// Measure what tracing costs: hits a second, nanoseconds a hit, share of a CPU
    Cost(Box<cost::CostArgs>),
    /// Attach a program of your own, C as bcc takes it
    Run(Box<run::RunArgs>),
    /// Say what works on this machine and for a binary, what does not, and what to do
    Doctor(doctor::DoctorArgs),
    /// Print completions for a shell
    ///
    /// For bash, as root: usdt-attach completions bash > /etc/bash_completion.d/usdt-attach
    Completions {
        /// The shell
        shell: Shell,
    },
}

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
    let done = |result: Result<()>| result.map(|()| true);
    let result = match &cli.command {
        Command::List(args) => done(list::list(args, cli.color)),
        Command::Trace(args) => done(trace::trace(args, cli.color)),
        Command::Record(args) => done(record::record(args)),
        Command::Count(args) => done(count::count(args, cli.color)),
        Command::Hist(args) => done(hist::hist(args, cli.color)),
        Command::Latency(args) => done(latency::latency(args, cli.color)),
        Command::Export(args) => done(export::export(args)),
        Command::Agent(args) => done(export::agent(args)),
        Command::Go(args) => done(go::go(args, cli.color)),
        Command::Snapshot(args) => done(snapshot::snapshot(args)),
        Command::Cost(args) => cost::cost(args, cli.color),
        Command::Doctor(args) => doctor::doctor(args, cli.color),
        Command::Completions { shell } => {
            done(written(cli_common::print(&cli_common::completions(&mut command(), *shell))))
        }
        Command::Run(args) => done(run::run_file(args)),
    };
    match result {
        Ok(true) => OK,
        Ok(false) => FINDINGS,
        Err(error) => {
            cli_common::report_error(&format!("{error:#}"), cli.color.enabled(&io::stderr()));
            exit_code(&error)
        }
    }
}

/// The command line itself, for manuals.
pub fn command() -> clap::Command {
    Cli::command()
}
