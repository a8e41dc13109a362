//! `usdt-attach run`: attaches a BPF program in C, and prints its tables.

use super::args::TargetArgs;
use crate::output::{check_write, json, text};
use crate::run_loop::{Silent, StopConditions, run};
use crate::signals::Signals;
use clap::Args;
use cli_common::{Text, escape, say, warn};
use serde::Serialize;
use serde_json::Value;
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
use usdt_attach::target::{LeftOutChildren, ResolvedTarget};
use usdt_export::time::parse_duration;

#[derive(Debug, Args)]
#[command(after_help = "The file is C as bcc compiles it, with these additions:\n  \
                        USDT(provider, probe) { ... }  is attached to that probe\n  \
                        usdt_arg(provider, probe, name)  returns the value of an argument\n  \
                        usdt_text(provider, probe, name, to, size)  copies a string argument\n\n\
                        The tables of the program are printed when it ends:\n  \
                        BPF_HASH(sizes, u64);\n  \
                        USDT(app, request__done) {\n    \
                        sizes.atomic_increment(usdt_arg(app, request__done, size));\n    \
                        return 0;\n  }")]
pub(crate) struct RunArgs {
    /// BPF program in C for bcc
    #[arg(value_name = "FILE.c")]
    file: PathBuf,
    /// Read these integer arguments as C strings: names or argN, separated by commas
    #[arg(long = "cstring", value_name = "ARG", value_delimiter = ',')]
    strings: Vec<String>,
    /// Read argument names and types from a file that `usdt-gen schema` wrote; those of known
    /// providers are built in
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Stop after this time, such as 10s, 500ms or 2m
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Print one JSON object per table row
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn run_file(args: &RunArgs) -> Result<()> {
    let helper = BccHelper::find()?;
    let source_code = usdt_files::read_text(&args.file, usdt_files::TEXT_LIMIT)
        .map_err(|source| Error::open(args.file.clone(), source))?;
    let target = args.target.target(&[])?;
    let mut resolved = target.resolve()?;
    args.target.follow_children(&mut resolved)?;
    let pids = resolved.pids();
    let ResolvedTarget { objects: mut found, processes, child, children, warnings } = resolved;
    if let Some(file) = &args.schema {
        SchemaFile::read(file)?.apply(&mut found);
    }
    warn(warnings);
    warn(found.iter().flat_map(|f| &f.warnings));
    let options = Options {
        pids,
        children: children.clone(),
        cgroup: target.cgroup().map(Into::into),
        strings: args.strings.clone(),
        ..Options::default()
    };
    let signals = Signals::catch()?;
    let left_out = match (&children, &processes) {
        (None, Some(processes)) => LeftOutChildren::count_from(processes),
        _ => None,
    };
    let name = args.file.to_string_lossy();
    let source = CProgram { name: &name, source: &source_code };
    let (mut program, warnings) = source.attach(&helper, &found, &options, Mechanism::Auto)?;
    warn(warnings);
    if !program.diagnostics().is_empty() {
        say(program.diagnostics());
    }
    let mut running = child.map(usdt_attach::target::PendingChild::run).transpose()?;
    let conditions = StopConditions { duration: args.duration, interval: None };
    let event_loop = EventLoop::new(Vec::new())?;
    let event_loop = match children {
        Some(children) => event_loop.until_exit_of_tree(children)?,
        None => event_loop.until_exit(processes.as_deref().unwrap_or_default())?,
    };
    run(event_loop, &signals, conditions, &mut Silent)?;
    let left_out = left_out.map(|children| children.count()).transpose()?;
    if let Some(message) = left_out.and_then(text::children_left_out) {
        say(&message);
    }
    program.detach();
    if let Some(child) = &mut running {
        super::attach::terminate(child);
    }
    let mut out = Text::new(BufWriter::new(io::stdout().lock()), false);
    let result =
        program.tables()?.iter().try_for_each(|table| write_table(&mut out, table, args.json));
    check_write(result.and_then(|()| out.flush()))
}

fn write_table(out: &mut impl Write, table: &TableContents, as_json: bool) -> io::Result<()> {
    #[derive(Serialize)]
    struct RowLine<'a> {
        table: &'a str,
        key: &'a Value,
        value: &'a Value,
    }
    if as_json {
        return table.rows.iter().try_for_each(|(key, value)| {
            json::write_line(out, &RowLine { table: &table.name, key, value })
        });
    }
    let name = escape(table.name.as_bytes());
    if table.omitted {
        return writeln!(out, "{name}: not a table of keys and values");
    }
    let plural = if table.rows.len() == 1 { "row" } else { "rows" };
    writeln!(out, "{name}: {} {plural}", table.rows.len())?;
    table.rows.iter().try_for_each(|(key, value)| {
        writeln!(out, "  {}: {}", format_value(key), format_value(value))
    })
}

/// Formats strings without quotes, and structures as `name=value` for each member.
fn format_value(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text.as_bytes()),
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, v)| format!("{}={}", escape(name.as_bytes()), format_value(v)))
                .collect();
            members.join(" ")
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(format_value).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
