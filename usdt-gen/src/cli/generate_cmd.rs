//! `usdt-gen PROBES.D`: the Go package, written or compared.

use super::{BAD_INPUT, FINDINGS, Failure, OK, REFUSED, language_args, print, say};
use crate::atomic_write::write_if_changed;
use crate::dlang::Dialect;
use crate::golang::{self, File};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Provider definition to generate a Go package from
    #[arg(required = true, value_name = "PROBES.D")]
    definition: Option<PathBuf>,
    /// Folder for the generated files [default: the definition's]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Package name [default: $GOPACKAGE, as `go generate` sets it, else the folder's name]
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Also generate NAMEFunc for each probe with arguments: it takes a function that computes them, called only while a
    /// tracer is attached
    #[arg(long)]
    lazy_args: bool,
    /// Write nothing; show what would change and exit with 1 if anything would
    #[arg(long)]
    check: bool,
    /// Refuse what another implementation of the language refuses
    #[arg(long, value_enum, value_name = "DIALECT")]
    strict: Option<Strict>,
    #[command(flatten)]
    language: language_args::LanguageArgs,
}

/// Implementations of the language.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Strict {
    /// DTrace of illumos, FreeBSD and Oracle
    Illumos,
    /// DTrace of macOS
    Apple,
    /// SystemTap's dtrace
    Systemtap,
}

impl From<Strict> for Dialect {
    fn from(strict: Strict) -> Dialect {
        match strict {
            Strict::Illumos => Dialect::Illumos,
            Strict::Apple => Dialect::Apple,
            Strict::Systemtap => Dialect::Systemtap,
        }
    }
}

pub(super) fn run(args: &GenerateArgs, color: bool) -> Result<i32, Failure> {
    let Some(path) = &args.definition else { return Ok(BAD_INPUT) };
    let model = language_args::parse(path, &args.language, args.strict.map(Dialect::from), color)?;
    let folder =
        args.output.clone().unwrap_or_else(|| path.parent().unwrap_or(Path::new("")).to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let package = match (&args.package, std::env::var("GOPACKAGE")) {
        (Some(name), _) => name.clone(),
        // The variable names the package of the folder `go generate` works in.
        (None, Ok(name)) if !name.is_empty() && args.output.is_none() => name,
        _ => match args.check.then(|| existing(&folder, &name)).flatten() {
            Some(name) => name,
            None => golang::default_package(
                &std::path::absolute(&folder).unwrap_or_else(|_| folder.clone()),
            ),
        },
    };
    let golang_package =
        golang::Package { lazy_args: args.lazy_args, ..golang::Package::named(&package) };
    let files = golang::generate(&model, &name, golang_package)
        .map_err(|e| Failure(BAD_INPUT, e.to_string()))?;
    if args.check { check(&folder, &files) } else { write(&folder, &files) }
}

/// The package that generated files in the folder say they belong to: `--check` compares, it does not name.
fn existing(folder: &Path, definition: &str) -> Option<String> {
    let source = std::fs::read_to_string(folder.join(golang::main_file(definition))).ok()?;
    source.lines().find_map(|l| l.strip_prefix("package ")).map(|name| name.trim().to_owned())
}

pub(super) fn write(folder: &Path, files: &[File]) -> Result<i32, Failure> {
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure(REFUSED, format!("cannot create {}: {e}", folder.display())))?;
    }
    for file in files {
        let target = folder.join(&file.name);
        write_if_changed(&target, file.text.as_bytes())
            .map_err(|e| Failure(REFUSED, e.to_string()))?;
    }
    Ok(OK)
}

/// What would change in a file, as a unified diff.
pub(super) fn difference(name: &str, how: &str, old: &str, new: &str) -> Result<(), Failure> {
    let diff = similar::TextDiff::from_lines(old, new);
    print(&diff.unified_diff().header(name, &format!("{name} ({how})")).to_string())
}

/// Says of every file that is not what it should be what would change.
fn check(folder: &Path, files: &[File]) -> Result<i32, Failure> {
    let mut stale = Vec::new();
    for file in files {
        let target = folder.join(&file.name);
        let old = match std::fs::read_to_string(&target) {
            Ok(old) => old,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => {
                return Err(Failure(BAD_INPUT, format!("cannot read {}: {e}", target.display())));
            }
        };
        if old == file.text {
            continue;
        }
        let name = target.display().to_string();
        difference(&name, "generated", &old, &file.text)?;
        stale.push(name);
    }
    if stale.is_empty() {
        return Ok(OK);
    }
    say(&format!("out of date: {}; run usdt-gen without --check", stale.join(", ")));
    Ok(FINDINGS)
}
