//! `usdt-gen inject`: flags for the go command that inject probes into functions.

use super::command_error::CommandError;
use super::go_module;
use super::output::{print, print_json_line, print_text};
use crate::inject::helper::Helper;
use crate::inject::list::{self, GoCommand, Report};
use crate::inject::plan::{CompilerFlags, Plan};
use crate::inject::presets::{PRESETS, Preset};
use crate::inject::rules::RuleSet;
use crate::inject::{InjectError, cached};
use crate::overlay::{self, Overlay};
use crate::toolexec;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use cli_common::{FINDINGS, OK, say_colored, warn};
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};
use usdt_files::TEXT_LIMIT;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  Inject probes into one method of a dependency:
    export GOFLAGS=\"$(usdt-gen inject 'net/http.(*Client).Do')\"
    go build ./cmd/shop && usdt-attach list ./shop
  Inject the probes of a rule file:
    export GOFLAGS=\"$(usdt-gen inject inject.toml)\"
  Show which functions it matches, and what their probes show:
    usdt-gen inject --list inject.toml
  Inject the probes of presets, and of a rule file:
    export GOFLAGS=\"$(usdt-gen inject --preset sql --preset redis inject.toml)\"
  Add the probes of the Go runtime and standard library:
    export GOFLAGS=\"$(usdt-gen inject --runtime)\"
  Begin a rule file of your own with a preset:
    usdt-gen inject --preset redis --print > inject.toml
  Turn the probes off again:
    unset GOFLAGS

A rule file has a table for each rule:
  [[probe]]
  func = \"github.com/redis/go-redis/v9.(*Client).Process\"
  args = { cmd = \"cmd.Name()\", count = \"len(cmd.Args())\" }

  [[probe]]
  func = \"example.com/shop/...:*Handler\"
  exclude = [\"(*debugServer).*\"]")]
pub(super) struct InjectArgs {
    /// Rule files (*.toml), and functions as tracebacks print them
    #[arg(required_unless_present_any = ["presets", "runtime"], value_name = "RULES.toml|FUNC")]
    rules: Vec<String>,
    /// Rules for a library; may be repeated
    #[arg(long = "preset", value_name = "NAME", value_parser = preset_names())]
    presets: Vec<String>,
    /// Add the probes of the Go runtime and standard library, too [default: all providers]
    #[arg(
        long,
        value_name = "PROVIDER,…",
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_values = overlay::provider_names(),
        value_parser = PossibleValuesParser::new(overlay::provider_names())
    )]
    runtime: Option<Vec<String>>,
    /// Print the rules of the presets instead of flags
    #[arg(long, requires = "presets", conflicts_with_all = ["rules", "runtime", "list", "check", "json"])]
    print: bool,
    /// List the functions and their probes instead of printing flags
    ///
    /// Compiles the packages, but not with probes.
    #[arg(long)]
    list: bool,
    /// Exit with status 1 if a rule matches no function
    #[arg(long)]
    check: bool,
    /// Print the list as one JSON object per function
    #[arg(long, requires = "list")]
    json: bool,
    /// Packages that are built, for --list, --check and rules for `main`
    #[arg(long, value_name = "PATTERN", default_value = "./...")]
    packages: Vec<String>,
    /// Compiler flags of your own, instead of the go command's -gcflags
    #[arg(long, value_name = "PATTERN=FLAGS", value_parser = CompilerFlags::parse)]
    gcflags: Vec<CompilerFlags>,
    /// Another wrapper of the go command's tools, which runs after this one
    #[arg(long, value_name = "COMMAND")]
    toolexec: Option<String>,
    /// The go command that you build with
    #[arg(long, value_name = "GO", default_value = "go")]
    go: PathBuf,
}

pub(super) fn run(args: &InjectArgs, color: bool) -> Result<i32, CommandError> {
    if args.print {
        return print_presets(&args.presets);
    }
    let mut rules = read_rules(args, color)?;
    resolve_relative_packages(&mut rules)?;
    if rules.rules.is_empty() && (args.list || args.check) {
        return Err(CommandError::bad_input(
            "there are no rules; docs/catalog.md has the probes of --runtime",
        ));
    }
    let go = GoCommand::query(&args.go).map_err(command_error)?;
    let programs = if rules.rules.iter().any(|rule| rule.package == "main") {
        let programs = go.programs(&args.packages).map_err(command_error)?;
        if programs.is_empty() {
            warn([format!(
                "no package `main` in {}; rules for `main` apply to `go run FILE.go` only, name the programs with --packages",
                args.packages.join(" ")
            )]);
        }
        programs
    } else {
        Vec::new()
    };
    let providers = args.runtime.clone().unwrap_or_default();
    // A toolchain that the probes do not fit is reported now, and not by a build.
    Overlay::new(&go.toolchain.goroot, &providers).map_err(|e| command_error(e.into()))?;
    let plan = Plan::new(rules, providers, programs, &toolexec::sealer_identity());
    cached::trim();
    if args.list || args.check {
        let report = list::report(&plan, &go, &args.packages, color).map_err(command_error)?;
        return print_report(args, &report, color);
    }
    if !plan.rules.rules.is_empty() {
        Helper::build(&go.toolchain).map_err(command_error)?;
    }
    warn(plan.save().map_err(command_error)?);
    let program = std::env::current_exe()
        .map_err(|error| CommandError::refused(format!("cannot find this program: {error}")))?;
    let own = plan
        .go_flags(&program, args.toolexec.as_deref(), &args.gcflags)
        .map_err(CommandError::bad_input)?;
    let kept = go.user_flags().map_err(CommandError::bad_input)?;
    let separator = if kept.is_empty() { "" } else { " " };
    print(&format!("{kept}{separator}{own}\n"))?;
    Ok(OK)
}

fn command_error(error: InjectError) -> CommandError {
    match error {
        InjectError::Write { .. } | InjectError::Cache(_) => CommandError::refused(error),
        _ => CommandError::bad_input(error),
    }
}

/// Returns the names of presets, with what they are for.
fn preset_names() -> PossibleValuesParser {
    PRESETS.iter().map(|preset| PossibleValue::new(preset.name).help(preset.summary())).into()
}

/// Reads the rules of files, functions and presets. Those of presets are the last ones, so that the
/// user's own count for the same functions.
fn read_rules(args: &InjectArgs, color: bool) -> Result<RuleSet, CommandError> {
    let mut set = RuleSet::default();
    for argument in &args.rules {
        if argument.ends_with(".toml") {
            let path = Path::new(argument);
            let text = usdt_files::read_text(path, TEXT_LIMIT)
                .map_err(|error| CommandError::unreadable(path, error))?;
            let name = Escaped::new(path).to_string();
            set.add_file(&name, &text, color).map_err(|messages| {
                say_colored(&format!("{messages}\n"), color);
                CommandError::bad_input(format!("{name} has mistakes; nothing was written"))
            })?;
        } else {
            set.add_function(argument).map_err(CommandError::bad_input)?;
        }
    }
    for preset in args.presets.iter().filter_map(|name| Preset::find(name)) {
        set.add_file(&preset.file_name(), preset.text, color).map_err(CommandError::bad_input)?;
    }
    Ok(set)
}

/// Prints presets as one rule file.
fn print_presets(names: &[String]) -> Result<i32, CommandError> {
    let rules: Vec<&str> =
        names.iter().filter_map(|name| Preset::find(name)).map(|preset| preset.text).collect();
    print(&rules.join("\n"))?;
    Ok(OK)
}

/// Replaces patterns such as `./store` by import paths.
fn resolve_relative_packages(rules: &mut RuleSet) -> Result<(), CommandError> {
    let is_relative = |package: &str| package == "." || package.starts_with("./");
    if !rules.rules.iter().any(|rule| is_relative(&rule.package)) {
        return Ok(());
    }
    let directory = std::env::current_dir()
        .map_err(|error| CommandError::refused(format!("cannot find this directory: {error}")))?;
    let module = go_module::find_module(&directory)?;
    let below = directory.strip_prefix(&module.root).unwrap_or(Path::new(""));
    for rule in rules.rules.iter_mut().filter(|rule| is_relative(&rule.package)) {
        let rest = rule.package.trim_start_matches('.').trim_start_matches('/');
        // `./...` loses its dots above.
        let rest = if rule.package == "./..." { "..." } else { rest };
        let below = below.to_string_lossy();
        let parts = [module.path.as_str(), &below, rest];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        rule.package = parts.join("/");
    }
    Ok(())
}

fn print_report(args: &InjectArgs, report: &Report, color: bool) -> Result<i32, CommandError> {
    for message in report.mistakes.iter().chain(&report.unmatched) {
        say_colored(&format!("{message}\n"), color);
    }
    if args.list && args.json {
        for package in &report.packages {
            let (functions, skipped) = package.json_lines();
            for line in functions {
                print_json_line(&line)?;
            }
            for line in skipped {
                print_json_line(&line)?;
            }
        }
    } else if args.list {
        print_text(&report.to_text(), false)?;
    }
    if !report.mistakes.is_empty() {
        return Err(CommandError::bad_input("the rules have mistakes; a build would fail"));
    }
    Ok(if args.check && !report.unmatched.is_empty() { FINDINGS } else { OK })
}
