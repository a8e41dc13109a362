//! `usdt-attach run`.

use super::args::TargetArgs;
use crate::output::written;
use crate::run_loop::{Silent, StopConditions, run};
use crate::signals::Signals;
use clap::Args;
use cli_common::{escape, say, warn};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;
use usdt_attach::backend::bcc::BccHelper;
use usdt_attach::backend::bcc::c_program::{CProgram, TableContents};
use usdt_attach::discover::SchemaFile;
use usdt_attach::error::{Error, Result};
use usdt_attach::plan::Options;
use usdt_attach::session::EventLoop;
use usdt_attach::session::Mechanism;
use usdt_attach::target::ResolvedTarget;
use usdt_export::time::parse_duration;

#[derive(Debug, Args)]
#[command(
    after_help = "The program is C as bcc takes it. USDT(provider, probe) { ... } is attached to that probe;\n\
                        usdt_arg(provider, probe, name) is the value of an argument and\n\
                        usdt_text(provider, probe, name, to, size) copies text. Tables are printed at the end:\n\n  \
                        BPF_HASH(sizes, u64);\n  \
                        USDT(app, request__done) {\n    \
                        sizes.atomic_increment(usdt_arg(app, request__done, size));\n    \
                        return 0;\n  }"
)]
pub(crate) struct RunArgs {
    /// The program
    #[arg(value_name = "FILE.c")]
    file: PathBuf,
    /// Arguments that are C strings, where the binary does not say so: names or argN
    #[arg(long = "str", value_name = "ARG", value_delimiter = ',')]
    strings: Vec<String>,
    /// Names and types of arguments, for binaries that have none: the output of `usdt-gen schema`
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Stop after this time, such as 10s, 500ms, 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// One JSON object for each row of each table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn run_file(args: &RunArgs) -> Result<()> {
    let helper = BccHelper::find()?;
    let text = std::fs::read_to_string(&args.file)
        .map_err(|source| Error::open(args.file.clone(), source))?;
    let target = args.target.target(&[])?;
    let resolved = target.resolve()?;
    let pids = resolved.pids();
    let ResolvedTarget { objects: mut found, processes, child } = resolved;
    if let Some(file) = &args.schema {
        SchemaFile::read(file)?.apply(&mut found);
    }
    warn(found.iter().flat_map(|f| f.warnings.clone()));
    let options = Options {
        pids,
        cgroup: target.cgroup().map(Into::into),
        strings: args.strings.clone(),
        ..Options::default()
    };
    let signals = Signals::catch()?;
    let name = args.file.to_string_lossy();
    let source = CProgram { name: &name, source: &text };
    let (mut program, warnings) = source.attach(&helper, &found, &options, Mechanism::Auto)?;
    warn(warnings);
    if !program.diagnostics().is_empty() {
        say(program.diagnostics());
    }
    let mut running = child.map(usdt_attach::target::PendingChild::run).transpose()?;
    let conditions = StopConditions { duration: args.duration, interval: None };
    let event_loop =
        EventLoop::new(Vec::new())?.until_exit(processes.as_deref().unwrap_or_default())?;
    run(event_loop, &signals, conditions, &mut Silent)?;
    program.detach();
    if let Some(child) = &mut running {
        super::attach::finish(child);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = program.tables()?.iter().try_for_each(|table| show(&mut out, table, args.json));
    written(result.and_then(|()| out.flush()))
}

fn show(out: &mut impl Write, table: &TableContents, as_json: bool) -> io::Result<()> {
    if as_json {
        return table.rows.iter().try_for_each(|(key, value)| {
            writeln!(out, "{}", json!({"table": table.name, "key": key, "value": value}))
        });
    }
    if table.omitted {
        return writeln!(out, "{}: no table of keys and values", escape(table.name.as_bytes()));
    }
    let plural = if table.rows.len() == 1 { "row" } else { "rows" };
    writeln!(out, "{}: {} {plural}", escape(table.name.as_bytes()), table.rows.len())?;
    table
        .rows
        .iter()
        .try_for_each(|(key, value)| writeln!(out, "  {}: {}", plain(key), plain(value)))
}

/// Texts without quotes, structures by their members.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text.as_bytes()),
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, v)| format!("{}={}", escape(name.as_bytes()), plain(v)))
                .collect();
            members.join(" ")
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
