//! `usdt-attach list`.

use super::args::{open_debug_files, report_runtime_entries};
use super::process_arg::{self, ProcessArg};
use crate::output::progress::{Progress, is_watched};
use crate::output::{check_write, json, text};
use clap::Args;
use cli_common::{Color, Text, escape, say, warn};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use usdt_attach::discover::select::{Selected, select};
use usdt_attach::discover::{self, FunctionOptions, ScannedObject, SchemaSource};
use usdt_attach::error::{Error, ErrorKind, Escaped, Result};
use usdt_attach::plan::Options;
use usdt_attach::target::Target;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// List the probes of these processes and their libraries: PIDs or names
    #[arg(short, long, value_name = "PID|NAME", value_delimiter = ',')]
    pid: Vec<ProcessArg>,
    /// List the probes of all processes
    #[arg(long, conflicts_with = "pid")]
    all: bool,
    /// Print one JSON object per probe site
    #[arg(long)]
    json: bool,
    /// Read argument names and types from a file that `usdt-gen schema` wrote; those of known
    /// providers are built in
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Read the signatures of functions from the debug information (DWARF) in this file, for a
    /// stripped binary; may be repeated
    #[arg(long = "debug", value_name = "FILE")]
    debug_files: Vec<PathBuf>,
    /// Binary to list (unless -p or --all is given), then globs: `provider:probe`
    #[arg(value_name = "BIN|GLOB", required_unless_present_any = ["pid", "all"])]
    file_and_globs: Vec<OsString>,
}

pub(crate) fn list(args: &ListArgs, color: Color) -> Result<()> {
    let progress = Progress::start("scanning for probes");
    let target = match args.pid.as_slice() {
        _ if args.all => Some(Target::Host),
        [] => None,
        processes => Some(Target::pids(process_arg::pids(processes)?)?),
    };
    let mut warnings = Vec::new();
    let (mut found, globs, place) = match (target, args.file_and_globs.split_first()) {
        (Some(target), _) => {
            let resolved = target.scan()?;
            warnings = resolved.warnings;
            (resolved.objects, args.file_and_globs.as_slice(), target.to_string())
        }
        (None, Some((file, globs))) => {
            let path = Path::new(file);
            let found = discover::scan_file(path).map_err(|error| suggest_pid(path, error))?;
            (vec![found], globs, Escaped::new(path).to_string())
        }
        (None, None) => return Ok(()),
    };
    let globs: Vec<String> = globs.iter().map(|g| g.to_string_lossy().into_owned()).collect();
    if let Some(file) = &args.schema {
        discover::SchemaFile::read(file)?.apply(&mut found);
    }
    let debug_files = open_debug_files(&args.debug_files, &found)?;
    let options =
        FunctionOptions { debug_files, lists_inlined_calls: true, ..FunctionOptions::default() };
    discover::add_functions(&mut found, &globs, &options);
    drop(progress);
    warn(warnings);
    warn(found.iter().flat_map(|f| &f.warnings));
    let selected = Options::default().choose_sites(&select(&found, &globs)?);
    if selected.is_empty() {
        say(&format!("{place}: no probes"));
        suggest_runtime_probes(args, &found);
        return Ok(());
    }
    say_foreign(&selected);
    let color = color.enabled(&io::stdout());
    let mut out = Text::new(BufWriter::new(io::stdout().lock()), color);
    let result = if args.json {
        json::list(&mut out, &selected)
    } else {
        text::list(&mut out, &selected, args.all, color)
    };
    check_write(result.and_then(|()| out.flush()))?;
    if !args.json {
        explain_known_names(&selected);
    }
    // Counting them takes longer than the list itself.
    if is_watched() {
        suggest_runtime_probes(args, &found);
    }
    Ok(())
}

/// Says which providers have argument names that are not those of the listed files.
fn explain_known_names(selected: &[Selected]) {
    let probes = selected.iter().map(|s| &s.probe);
    let known = probes.filter(|probe| {
        let has_names = probe.schema.as_ref().is_some_and(|schema| !schema.args.is_empty());
        has_names && probe.schema_source == Some(SchemaSource::Known)
    });
    let providers: BTreeSet<String> =
        known.map(|probe| escape(probe.provider.as_bytes())).collect();
    if !providers.is_empty() {
        let providers = providers.into_iter().collect::<Vec<_>>().join(", ");
        say(&format!("argument names of known providers: {providers} (the files have none)"));
    }
}

/// Says which files are for other architectures, so that their probes can be listed only.
fn say_foreign(selected: &[Selected]) {
    for object in selected.chunk_by(|a, b| a.object.id == b.object.id) {
        let Some(Selected { object, probe, .. }) = object.first() else { continue };
        if let Some(architecture) = probe.foreign_architecture() {
            let path = Escaped::new(&object.path);
            say(&format!(
                "{path}: a file for {architecture}, whose probes can be listed but not traced"
            ));
        }
    }
}

/// Suggests the glob that lists the function entries of Go's runtime, if the list is of one Go
/// binary or process without runtime probes and no glob was given.
fn suggest_runtime_probes(args: &ListArgs, found: &[ScannedObject]) {
    let globs = args.file_and_globs.len() - usize::from(args.pid.is_empty() && !args.all);
    if args.all || globs > 0 {
        return;
    }
    let target = match (args.pid.as_slice(), args.file_and_globs.first()) {
        ([], Some(file)) => Escaped::new(Path::new(file)).to_string(),
        (processes, _) => {
            let names: Vec<String> = processes.iter().map(ToString::to_string).collect();
            format!("-p {}", names.join(","))
        }
    };
    report_runtime_entries(found, &format!("usdt-attach list {target} 'go:*'"));
}

/// If a file that does not exist has a number as its name, suggests that it is a PID without `-p`.
fn suggest_pid(path: &Path, error: Error) -> Error {
    let number = path.to_str().and_then(|text| text.parse::<u32>().ok());
    match (number, error) {
        (Some(pid), error) if error.kind() == ErrorKind::NotFound => {
            Error::usage(format!("there is no file `{pid}`; if it is a process, pass -p {pid}"))
        }
        (_, error) => error,
    }
}
