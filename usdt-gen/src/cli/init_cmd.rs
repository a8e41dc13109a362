//! `usdt-gen init`: creates a first definition and its package in the current Go module.

use super::command_error::CommandError;
use super::go_module::find_module;
use super::output::{create_directory, print_text, write_package};
use crate::dlang;
use crate::golang;
use crate::language_server::GENERATOR_SCRIPT;
use clap::Args;
use cli_common::{OK, warn};
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};
use usdt_files::write_atomic;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Directory of the new package
    #[arg(value_name = "DIR", default_value = "probes")]
    directory: PathBuf,
    /// Name of the provider [default: derived from the module path]
    #[arg(long, value_name = "NAME", value_parser = parse_provider)]
    provider: Option<String>,
}

/// File name of the definition.
const DEFINITION: &str = "probes.d";
/// File name of the Go file with the `go:generate` directive.
const DIRECTIVE: &str = "gen.go";
/// File name of the script that runs `usdt-gen`, or says that it is missing.
const WRAPPER: &str = GENERATOR_SCRIPT;

fn parse_provider(value: &str) -> Result<String, String> {
    let valid = provider_name(value);
    if value == valid {
        Ok(valid)
    } else {
        Err(format!("not a valid provider name; try `{valid}`"))
    }
}

/// Returns the nearest valid provider name: letters, digits and `_`, with a letter at either end.
fn provider_name(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    let name = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

pub(super) fn run(args: &InitArgs) -> Result<i32, CommandError> {
    let directory = std::path::absolute(&args.directory).map_err(CommandError::refused)?;
    let module = find_module(&directory)?;
    for name in [DEFINITION, DIRECTIVE, WRAPPER] {
        if directory.join(name).exists() {
            return Err(CommandError::bad_input(format!(
                "{} already exists; nothing was written, choose another directory",
                Escaped::new(&args.directory.join(name))
            )));
        }
    }
    let provider =
        args.provider.clone().unwrap_or_else(|| provider_name(last_element(&module.path)));
    let package = golang::default_package(&directory);
    let definition = example_definition(&provider);
    let parsed = dlang::parse_with(DEFINITION, &definition, &dlang::Options::default());
    let model = parsed.model.ok_or_else(|| {
        CommandError::bad_input(format!("`{provider}` is not a valid provider name"))
    })?;
    let files = golang::generate(&model, DEFINITION, golang::Package::named(&package))
        .map_err(CommandError::bad_input)?;
    create_directory(&directory)?;
    let directive = format!("package {package}\n\n//go:generate sh {WRAPPER} {DEFINITION}\n");
    let wrapper = include_str!("usdt-gen.sh").to_owned();
    for (name, content) in [(DEFINITION, definition), (DIRECTIVE, directive), (WRAPPER, wrapper)] {
        let warnings = write_atomic(&directory.join(name), content.as_bytes());
        warn(warnings.map_err(CommandError::refused)?);
    }
    write_package(&directory, &files)?;
    let relative = directory
        .strip_prefix(&module.root)
        .unwrap_or(Path::new(""))
        .to_string_lossy()
        .into_owned();
    print_text(&next_steps(&args.directory, &relative, &module.path, &package, &provider), false)?;
    Ok(OK)
}

/// The instructions printed after the package was created. `relative` is the package directory
/// below the module root.
fn next_steps(
    directory: &Path,
    relative: &str,
    module_path: &str,
    package: &str,
    provider: &str,
) -> String {
    let directory = Escaped::new(directory);
    let (import, pattern) = if relative.is_empty() {
        (module_path.to_owned(), "./...".to_owned())
    } else {
        (format!("{module_path}/{relative}"), format!("./{relative}/..."))
    };
    format!(
        "Created {directory}/{DEFINITION} with two example probes, and their Go package in {directory}/.\n\n\
         Fire them where your program handles a request (id is a uint64, status an int):\n\n    \
         import \"{import}\"\n\n    start := time.Now()\n    \
         {package}.RequestStart(id, r.Method, r.URL.Path)\n    \
         {package}.RequestEnd(id, status, time.Since(start))\n\n\
         Build and trace:\n\n    go build -toolexec='usdt-gen toolexec' -o app .\n    \
         sudo usdt-attach latency --exe ./app {provider}:request-start {provider}:request-end --interval 1s\n\n\
         After you change {DEFINITION}, run: go generate {pattern}\n\n\
         Commit {directory}/ with all its files: a plain `go build` needs no usdt-gen, and\n\
         {WRAPPER} tells colleagues how to get it.\n"
    )
}

fn example_definition(provider: &str) -> String {
    format!(
        "/** Requests of the service. This is an example: replace it with probes of your program. */\n\
         provider {provider} {{\n\
         \t/** A request has been read. */\n\
         \tprobe request__start(uint64_t id, string method, string path);\n\n\
         \t/**\n\
         \t * The response has been written.\n\
         \t *\n\
         \t * @go status int\n\
         \t * @go duration_ns time.Duration\n\
         \t */\n\
         \tprobe request__end(uint64_t id, int64_t status, int64_t duration_ns);\n}};\n"
    )
}

/// Returns the last element of a module path, skipping a major version such as `v2`.
fn last_element(module_path: &str) -> &str {
    module_path.rsplit('/').find(|element| !is_major_version(element)).unwrap_or(module_path)
}

fn is_major_version(element: &str) -> bool {
    element
        .strip_prefix('v')
        .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_a_valid_provider_name_from_a_module_path() {
        assert_eq!(provider_name(last_element("example.com/my-app/v2")), "my_app");
        assert_eq!(provider_name("2go4"), "go");
        assert_eq!(provider_name("42"), "app");
        assert!(parse_provider("a-b").is_err() && parse_provider("app").is_ok());
    }

    #[test]
    fn example_definition_is_already_formatted() {
        let definition = example_definition("app");
        let mut sources = crate::dlang::source::Sources::default();
        let file = sources.add(DEFINITION, &definition);
        assert_eq!(dlang::format(&sources, &file).ok(), Some(definition));
    }
}
