//! `usdt-attach list`.

use crate::output::progress::Progress;
use crate::output::written;
use crate::output::{json, text};
use clap::Args;
use cli_common::{Color, say, warn};
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use usdt_attach::discover;
use usdt_attach::discover::select::select;
use usdt_attach::error::{Error, ErrorKind, Result};
use usdt_attach::target::Target;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Process to look into, its libraries included
    #[arg(short, long, value_name = "PID")]
    pid: Option<u32>,
    /// Look into every process
    #[arg(long, conflicts_with = "pid")]
    all: bool,
    /// One JSON object per probe
    #[arg(long)]
    json: bool,
    /// Names and types of arguments, for binaries that have none: the output of `usdt-gen schema`
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Binary to look into (unless -p or --all is given), then globs `provider:probe`
    #[arg(value_name = "BIN|GLOB", required_unless_present_any = ["pid", "all"])]
    rest: Vec<OsString>,
}

pub(crate) fn list(args: &ListArgs, color: Color) -> Result<()> {
    let progress = Progress::of("looking for probes");
    let (mut found, globs, place) = match (args.pid, args.rest.split_first()) {
        _ if args.all => {
            (Target::Host.scan()?.objects, args.rest.as_slice(), Target::Host.to_string())
        }
        (Some(pid), _) => {
            (discover::scan_process(pid)?, args.rest.as_slice(), format!("process {pid}"))
        }
        (None, Some((file, globs))) => {
            let path = Path::new(file);
            let found =
                discover::scan_file(path).map_err(|error| process_for_a_file(path, error))?;
            (vec![found], globs, path.display().to_string())
        }
        (None, None) => return Ok(()),
    };
    let globs: Vec<String> = globs.iter().map(|g| g.to_string_lossy().into_owned()).collect();
    if let Some(file) = &args.schema {
        discover::SchemaFile::read(file)?.apply(&mut found);
    }
    discover::add_function_entries(&mut found, &globs);
    drop(progress);
    warn(found.iter().flat_map(|f| f.warnings.clone()));
    let chosen = select(&found, &globs)?;
    if chosen.is_empty() {
        say(&format!("{place}: no probes"));
        return Ok(());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if args.json {
        json::list(&mut out, &chosen)
    } else {
        text::list(&mut out, &chosen, args.all, color.enabled(&io::stdout()))
    };
    written(result.and_then(|()| out.flush()))
}

/// A number that is no file is a process, of somebody who left out the `-p`.
fn process_for_a_file(path: &Path, error: Error) -> Error {
    let number = path.to_str().and_then(|text| text.parse::<u32>().ok());
    match (number, error) {
        (Some(pid), error) if error.kind() == ErrorKind::NotFound => {
            Error::usage(format!("there is no file {pid}; if it is a process, say -p {pid}"))
        }
        (_, error) => error,
    }
}
