//! `usdt-gen PROBES.D`: writes the Go package of a definition, or checks that it is up to date.

use super::command_error::CommandError;
use super::language_args::{self, LanguageArgs};
use super::output::{print_changes, write_package};
use crate::dlang::Dialect;
use crate::golang::{self, File};
use crate::language_server::Settings;
use clap::{Args, ValueEnum};
use cli_common::{BAD_INPUT, FINDINGS, OK, say};
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};
use usdt_files::TEXT_LIMIT;

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Provider definition to generate a Go package from
    #[arg(required = true, value_name = "PROBES.D")]
    definition: Option<PathBuf>,
    /// Directory for the generated files [default: the directory of the definition]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Name of the Go package [default: $GOPACKAGE as set by `go generate`, or the directory name]
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Also generate NAMEFunc for each probe with arguments: it takes a function that computes the
    /// arguments and calls it only while a tracer is attached
    #[arg(long)]
    lazy_args: bool,
    /// Write nothing; print the changes and exit with status 1 if there are any
    #[arg(long)]
    check: bool,
    /// Reject what another implementation of the definition language rejects
    #[arg(long, value_enum, value_name = "DIALECT")]
    strict: Option<StrictDialect>,
    #[command(flatten)]
    language: LanguageArgs,
}

/// The values of `--strict`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StrictDialect {
    /// DTrace of illumos, FreeBSD and Oracle
    Illumos,
    /// DTrace of macOS
    Apple,
    /// The `dtrace` script of SystemTap
    Systemtap,
}

impl From<StrictDialect> for Dialect {
    fn from(dialect: StrictDialect) -> Dialect {
        match dialect {
            StrictDialect::Illumos => Dialect::Illumos,
            StrictDialect::Apple => Dialect::Apple,
            StrictDialect::Systemtap => Dialect::Systemtap,
        }
    }
}

/// Returns the definition that the arguments name, and what editors need to know of the options.
pub(super) fn settings(args: GenerateArgs) -> Option<(PathBuf, Settings)> {
    let settings = Settings {
        defines: args.language.define,
        include_dirs: args.language.include,
        strict: args.strict.map(Dialect::from),
        output: args.output,
    };
    Some((args.definition?, settings))
}

pub(super) fn run(args: &GenerateArgs, color: bool) -> Result<i32, CommandError> {
    // clap requires the argument unless a subcommand is given.
    let Some(path) = &args.definition else { return Ok(BAD_INPUT) };
    let model = language_args::parse(path, &args.language, args.strict.map(Dialect::from), color)?;
    let directory =
        args.output.clone().unwrap_or_else(|| path.parent().unwrap_or(Path::new("")).to_owned());
    let source = path.file_name().unwrap_or_default().to_string_lossy();
    let package_name = package_name(args, &directory, &source);
    let package =
        golang::Package { lazy_args: args.lazy_args, ..golang::Package::named(&package_name) };
    let files = golang::generate(&model, &source, package).map_err(CommandError::bad_input)?;
    if args.check {
        return check(&directory, &files);
    }
    write_package(&directory, &files)?;
    Ok(OK)
}

fn package_name(args: &GenerateArgs, directory: &Path, source: &str) -> String {
    if let Some(name) = &args.package {
        return name.clone();
    }
    // `go generate` sets the variable to the package of the directory it runs in.
    if let Ok(name) = std::env::var("GOPACKAGE")
        && !name.is_empty()
        && args.output.is_none()
    {
        return name;
    }
    // `--check` compares with what is there, so it must not choose another name.
    if args.check
        && let Some(name) = existing_package_name(directory, source)
    {
        return name;
    }
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    golang::default_package(&absolute)
}

/// Returns the package name in the generated file that is already in the directory.
fn existing_package_name(directory: &Path, definition: &str) -> Option<String> {
    let path = directory.join(golang::main_file(definition));
    let source = usdt_files::read_text(&path, TEXT_LIMIT).ok()?;
    source.lines().find_map(|l| l.strip_prefix("package ")).map(|name| name.trim().to_owned())
}

/// Prints a diff for each file that is out of date.
fn check(directory: &Path, files: &[File]) -> Result<i32, CommandError> {
    let mut stale = Vec::new();
    for file in files {
        let target = directory.join(&file.name);
        if print_changes(&target, &file.text)? {
            stale.push(Escaped::new(&target).to_string());
        }
    }
    if stale.is_empty() {
        return Ok(OK);
    }
    say(&format!("out of date: {}; run usdt-gen without --check", stale.join(", ")));
    Ok(FINDINGS)
}
