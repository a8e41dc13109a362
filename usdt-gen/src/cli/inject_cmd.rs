//! `usdt-gen inject`: flags for the go command that inject probes into functions.

use super::command_error::CommandError;
use super::go_module;
use super::output::{print, print_json_line, print_text};
use crate::inject::InjectError;
use crate::inject::helper::Helper;
use crate::inject::list::{self, GoCommand, Report};
use crate::inject::plan::{CompilerFlags, Plan};
use crate::inject::rules::RuleSet;
use crate::toolexec;
use clap::Args;
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
    /// Rule file (*.toml), or functions as tracebacks print them
    #[arg(required = true, value_name = "RULES.toml|FUNC")]
    rules: Vec<String>,
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
    let mut rules = read_rules(&args.rules, color)?;
    resolve_relative_packages(&mut rules)?;
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
    let plan = Plan::new(rules, programs, &toolexec::sealer_identity());
    if args.list || args.check {
        let report = list::report(&plan, &go, &args.packages, color).map_err(command_error)?;
        return print_report(args, &report, color);
    }
    Helper::build(&go.toolchain).map_err(command_error)?;
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

/// Reads the rule file, or the rules for functions that are named on the command line.
fn read_rules(arguments: &[String], color: bool) -> Result<RuleSet, CommandError> {
    let is_file = |argument: &String| argument.ends_with(".toml");
    match arguments {
        [file] if is_file(file) => {
            let path = Path::new(file);
            let text = usdt_files::read_text(path, TEXT_LIMIT)
                .map_err(|error| CommandError::unreadable(path, error))?;
            RuleSet::parse(&Escaped::new(path).to_string(), &text, color).map_err(|messages| {
                say_colored(&format!("{messages}\n"), color);
                CommandError::bad_input(format!(
                    "{} has mistakes; nothing was written",
                    Escaped::new(path)
                ))
            })
        }
        _ if arguments.iter().any(is_file) => Err(CommandError::bad_input(
            "a rule file stands alone; put the functions into it as rules",
        )),
        functions => RuleSet::from_functions(functions).map_err(CommandError::bad_input),
    }
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
