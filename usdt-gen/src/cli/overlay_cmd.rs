//! `usdt-gen overlay`: adds the probes of the Go runtime and standard library to a stock toolchain.

use super::command_error::CommandError;
use super::output::print;
use crate::cache;
use crate::overlay::{self, Overlay, OverlayError};
use clap::Args;
use cli_common::{OK, warn};
use stapsdt::escape::Escaped;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Args)]
pub(super) struct OverlayArgs {
    /// The go command of the toolchain that you build with
    #[arg(long, value_name = "GO", default_value = "go")]
    go: PathBuf,
    /// Directory for the changed sources [default: one per toolchain in the user's cache directory]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Providers to add
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME,…",
        default_values_t = overlay::provider_names().into_iter().map(String::from)
    )]
    providers: Vec<String>,
}

pub(super) fn run(args: &OverlayArgs) -> Result<i32, CommandError> {
    let Toolchain { goroot, version, module_cache } = query_toolchain(&args.go)?;
    if rejects_overlay(&version, &module_cache, &goroot) {
        return Err(CommandError::bad_input(format!(
            "{} is in the module cache, where {version} does not allow overlays; build with \
             GOFLAGS=\"$(usdt-gen inject --runtime)\" instead",
            Escaped::new(&goroot)
        )));
    }
    let overlay = Overlay::new(&goroot, &args.providers).map_err(command_error)?;
    let directory = match &args.output {
        Some(directory) => directory.clone(),
        None => cache_directory(&version, &args.providers)?,
    };
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    let (overlay_json, warnings) = overlay.write(&goroot, &directory).map_err(command_error)?;
    warn(warnings);
    print(&format!("{}\n", overlay_json.to_string_lossy()))?;
    Ok(OK)
}

fn command_error(error: OverlayError) -> CommandError {
    match error {
        OverlayError::Write(_) | OverlayError::CreateDirectory { .. } => {
            CommandError::refused(error)
        }
        _ => CommandError::bad_input(error),
    }
}

/// A Go toolchain, as its go command describes it.
struct Toolchain {
    goroot: PathBuf,
    version: String,
    /// `GOMODCACHE`; empty if the go command does not print it.
    module_cache: PathBuf,
}

/// Returns true if the toolchain ignores overlays of its own sources.
///
/// Go 1.25 and newer do not replace files in the module cache (`cmd/go/internal/fsys`). A toolchain
/// that the go command downloaded because of a `toolchain` line is in that cache.
fn rejects_overlay(version: &str, module_cache: &Path, goroot: &Path) -> bool {
    let minor = version.strip_prefix("go1.").and_then(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    });
    minor.is_some_and(|minor| minor >= 25)
        && !module_cache.as_os_str().is_empty()
        && goroot.starts_with(module_cache)
}

/// Asks the go command for its toolchain, which may be another one than its own if the current
/// module selects it.
fn query_toolchain(go: &Path) -> Result<Toolchain, CommandError> {
    const HINT: &str = "pass the go command with --go";
    let output =
        Command::new(go).args(["env", "GOROOT", "GOVERSION", "GOMODCACHE"]).output().map_err(
            |e| CommandError::bad_input(format!("cannot run {}: {e}; {HINT}", Escaped::new(go))),
        )?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut lines = stdout.lines();
    match (lines.next(), lines.next()) {
        (Some(root), Some(version)) if output.status.success() && !root.is_empty() => {
            Ok(Toolchain {
                goroot: PathBuf::from(root),
                version: version.to_owned(),
                module_cache: PathBuf::from(lines.next().unwrap_or_default()),
            })
        }
        _ => {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(CommandError::bad_input(format!(
                "`{} env GOROOT` printed nothing: {stderr}; {HINT}",
                Escaped::new(go)
            )))
        }
    }
}

/// Returns the default output directory. It is unique to the toolchain, the version of usdt-gen and
/// the providers.
fn cache_directory(version: &str, providers: &[String]) -> Result<PathBuf, CommandError> {
    let cache = cache::directory().ok_or_else(|| {
        CommandError::bad_input(
            "neither XDG_CACHE_HOME nor HOME is set; pass a directory with --output",
        )
    })?;
    let name = format!("{version}-{}-{}", env!("CARGO_PKG_VERSION"), providers.join("-"));
    // The version of a development toolchain has spaces and colons.
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && !".-_".contains(c), "_");
    Ok(cache.join(name))
}
