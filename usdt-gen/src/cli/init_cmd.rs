//! `usdt-gen init`: a first definition, in the Go module that it stands in.

use super::{BAD_INPUT, Failure, OK, REFUSED, generate_cmd, print};
use crate::atomic_write::write_atomic;
use crate::dlang;
use crate::golang;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Folder of the new package
    #[arg(value_name = "DIR", default_value = "probes")]
    folder: PathBuf,
    /// Name of the provider [default: from the module's path]
    #[arg(long, value_name = "NAME", value_parser = provider)]
    provider: Option<String>,
}

const DEFINITION: &str = "probes.d";
const DIRECTIVE: &str = "gen.go";

fn provider(text: &str) -> Result<String, String> {
    if text == provider_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("no name of a provider; `{}` would be one", provider_name(text)))
    }
}

/// The nearest name that a provider can have: letters, digits and `_`, no digit at either end.
fn provider_name(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    let name = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

pub(super) fn run(args: &InitArgs) -> Result<i32, Failure> {
    let refused = |e: &dyn std::fmt::Display| Failure(REFUSED, e.to_string());
    let folder = std::path::absolute(&args.folder).map_err(|e| refused(&e))?;
    let (root, module) = module(&folder)?;
    for name in [DEFINITION, DIRECTIVE] {
        if folder.join(name).exists() {
            let path = args.folder.join(name);
            return Err(Failure(
                BAD_INPUT,
                format!(
                    "{} is there already; nothing was written. Name another folder",
                    path.display()
                ),
            ));
        }
    }
    let within = folder.strip_prefix(&root).unwrap_or(Path::new("")).display().to_string();
    let import = if within.is_empty() { module.clone() } else { format!("{module}/{within}") };
    let provider = args.provider.clone().unwrap_or_else(|| provider_name(last(&module)));
    let package = golang::default_package(&folder);
    let text = definition(&provider);
    let parsed = dlang::parse_with(DEFINITION, &text, &dlang::Options::default());
    let model = parsed
        .model
        .ok_or_else(|| Failure(BAD_INPUT, format!("`{provider}` is no name of a provider")))?;
    let files = golang::generate(&model, DEFINITION, golang::Package::named(&package))
        .map_err(|e| Failure(BAD_INPUT, e.to_string()))?;
    std::fs::create_dir_all(&folder)
        .map_err(|e| refused(&format!("cannot create {}: {e}", folder.display())))?;
    let directive = format!("package {package}\n\n//go:generate usdt-gen {DEFINITION}\n");
    for (name, text) in [(DEFINITION, text), (DIRECTIVE, directive)] {
        write_atomic(&folder.join(name), text.as_bytes()).map_err(|e| refused(&e))?;
    }
    generate_cmd::write(&folder, &files)?;
    let shown = args.folder.display();
    print(&format!(
        "{shown}/{DEFINITION} defines two example probes; {shown}/ is their package.\n\n\
         Fire them where your program handles a request (id is a uint64, status an int):\n\n    \
         import \"{import}\"\n\n    start := time.Now()\n    \
         {package}.RequestStart(id, r.Method, r.URL.Path)\n    \
         {package}.RequestEnd(id, status, time.Since(start))\n\n\
         Build and trace:\n\n    go build -toolexec='usdt-gen toolexec' -o app .\n    \
         usdt-attach latency --exe ./app {provider}:request-start {provider}:request-end --interval 1s\n\n\
         After a change of {DEFINITION}: go generate {}\n",
        if within.is_empty() { "./...".to_owned() } else { format!("./{within}/...") },
    ))?;
    Ok(OK)
}

fn definition(provider: &str) -> String {
    format!(
        "/** Requests of the service. This is an example: replace it by what your program does. */\n\
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

/// The last element of a module's path that is no version.
fn last(module: &str) -> &str {
    let version = |name: &str| {
        name.strip_prefix('v')
            .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
    };
    module.rsplit('/').find(|name| !version(name)).unwrap_or(module)
}

/// Folder and path of the module that a folder is in.
fn module(folder: &Path) -> Result<(PathBuf, String), Failure> {
    for root in folder.ancestors() {
        let Ok(text) = std::fs::read_to_string(root.join("go.mod")) else { continue };
        let path = text.lines().find_map(|line| line.trim().strip_prefix("module")).map(|rest| {
            rest.split("//").next().unwrap_or_default().trim().trim_matches(['"', '`']).to_owned()
        });
        return match path {
            Some(path) if !path.is_empty() => Ok((root.to_owned(), path)),
            _ => Err(Failure(
                BAD_INPUT,
                format!("{} names no module", root.join("go.mod").display()),
            )),
        };
    }
    Err(Failure(
        BAD_INPUT,
        "no go.mod here or in a folder above: run it inside a Go module, or `go mod init NAME` first"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(provider_name(last("example.com/my-app/v2")), "my_app");
        assert_eq!(provider_name("2go4"), "go");
        assert_eq!(provider_name("42"), "app");
        assert!(provider("a-b").is_err() && provider("app").is_ok());
    }

    #[test]
    fn what_it_writes_is_canonical() {
        let text = definition("app");
        let mut sources = crate::dlang::source::Sources::default();
        let file = sources.add(DEFINITION, &text);
        assert_eq!(dlang::format(&sources, &file).ok(), Some(text));
    }
}
