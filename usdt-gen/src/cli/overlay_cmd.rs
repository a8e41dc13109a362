//! `usdt-gen overlay`: the runtime's own probes, on a stock toolchain.

use super::{BAD_INPUT, Failure, OK, REFUSED, print};
use crate::overlay::{self, Overlay, OverlayError};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Args)]
pub(super) struct OverlayArgs {
    /// Go command of the toolchain to build with
    #[arg(long, value_name = "GO", default_value = "go")]
    go: PathBuf,
    /// Folder for the changed sources [default: one for the toolchain in the user's cache]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Providers to add
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", default_values_t = overlay::names().into_iter().map(String::from))]
    providers: Vec<String>,
}

pub(super) fn run(args: &OverlayArgs) -> Result<i32, Failure> {
    let Toolchain { goroot, version, modules } = toolchain(&args.go)?;
    if replaces_nothing_below(&version, &modules, &goroot) {
        let release = &version;
        return Err(Failure(
            BAD_INPUT,
            format!(
                "{} is in the module cache, where {version} lets no overlay replace files; install the release \
                 outside of it: go install golang.org/dl/{release}@latest && {release} download, then \
                 usdt-gen overlay --go {release} and {release} build",
                goroot.display()
            ),
        ));
    }
    let overlay = Overlay::new(&goroot, &args.providers).map_err(|e| failure(&e))?;
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => cache(&version, &args.providers)?,
    };
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let list = overlay.write(&goroot, &folder).map_err(|e| failure(&e))?;
    print(&format!("{}\n", list.display()))?;
    Ok(OK)
}

fn failure(error: &OverlayError) -> Failure {
    let code = match error {
        OverlayError::Write(_) | OverlayError::Folder { .. } => REFUSED,
        _ => BAD_INPUT,
    };
    Failure(code, error.to_string())
}

/// As the go command describes it.
struct Toolchain {
    goroot: PathBuf,
    version: String,
    /// `GOMODCACHE`.
    modules: PathBuf,
}

/// Go 1.25 and newer refuse (`cmd/go/internal/fsys`), and what the go command downloads for a `toolchain` line is there.
fn replaces_nothing_below(version: &str, modules: &Path, goroot: &Path) -> bool {
    let minor = version.strip_prefix("go1.").and_then(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    });
    minor.is_some_and(|minor| minor >= 25)
        && !modules.as_os_str().is_empty()
        && goroot.starts_with(modules)
}

/// The go command may stand for another toolchain where a module asks for one.
fn toolchain(go: &Path) -> Result<Toolchain, Failure> {
    let mend = "name the go command with --go";
    let out = Command::new(go)
        .args(["env", "GOROOT", "GOVERSION", "GOMODCACHE"])
        .output()
        .map_err(|e| Failure(BAD_INPUT, format!("cannot run {}: {e}; {mend}", go.display())))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(root), Some(version)) if out.status.success() && !root.is_empty() => Ok(Toolchain {
            goroot: PathBuf::from(root),
            version: version.to_owned(),
            modules: PathBuf::from(lines.next().unwrap_or_default()),
        }),
        _ => {
            let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
            Err(Failure(
                BAD_INPUT,
                format!("{} env GOROOT says nothing: {said}; {mend}", go.display()),
            ))
        }
    }
}

/// A folder that no other toolchain, version of this tool or choice of providers shares.
fn cache(version: &str, providers: &[String]) -> Result<PathBuf, Failure> {
    let home =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache =
        home("XDG_CACHE_HOME").or_else(|| Some(home("HOME")?.join(".cache"))).ok_or_else(|| {
            Failure(
                BAD_INPUT,
                "neither XDG_CACHE_HOME nor HOME is set; name a folder with --output".to_owned(),
            )
        })?;
    let name = format!("{version}-{}-{}", env!("CARGO_PKG_VERSION"), providers.join("-"));
    // A development toolchain's version has spaces and colons.
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && !".-_".contains(c), "_");
    Ok(cache.join("usdt-gen").join(name))
}
