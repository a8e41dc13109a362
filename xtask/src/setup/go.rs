//! The Go toolchain: an installed one, or one downloaded with Debian's Go.

use super::apt::apt;
use crate::command::{Explain, Failure, Outcome, command, output, root};
use gobinary::supported_releases::{MINORS, TESTED, TESTED_UNMODIFIED};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of a Go toolchain that is new enough: from `PATH`, from the usual locations,
/// or downloaded.
pub(super) fn toolchain() -> Outcome<PathBuf> {
    let [.., newest] = TESTED;
    let fetched = root().join("target/go").join(newest).join("bin");
    let on_path = std::env::var("PATH").unwrap_or_default();
    let usual =
        [PathBuf::from("/usr/local/go/bin"), PathBuf::from("/usr/lib/go/bin"), fetched.clone()];
    let mut folders = std::env::split_paths(&on_path).chain(usual);
    if let Some(bin) = folders.find(|bin| minor(bin).is_some_and(|minor| minor >= *MINORS.start()))
    {
        return Ok(bin);
    }
    download(newest, &fetched)?;
    Ok(fetched)
}

/// Downloads the release that tests of unmodified binaries use, into the module cache.
pub(super) fn download_unmodified(bin: &Path) -> Outcome {
    let [.., release, _] = TESTED_UNMODIFIED;
    let mut go = Command::new(bin.join("go"));
    go.arg("version").current_dir("/").env("GOTOOLCHAIN", format!("go{release}"));
    // Old releases reject newer flags in the user's settings.
    output(go.env("GOENV", "off").env("GOFLAGS", "")).map(drop)
}

/// The release of Delve, which takes the newest Go release of the tests.
const DELVE: &str = "v1.27.2";

/// Returns the folder of Delve.
pub(super) fn delve_folder() -> PathBuf {
    root().join("target/delve").join(DELVE)
}

/// Builds Delve, unless it is there.
pub(super) fn install_delve(bin: &Path) -> Outcome {
    let folder = delve_folder();
    if folder.join("dlv").exists() {
        return Ok(());
    }
    let [.., newest] = TESTED;
    let package = format!("github.com/go-delve/delve/cmd/dlv@{DELVE}");
    eprintln!("installing {package}");
    let mut go = Command::new(bin.join("go"));
    go.args(["install", &package]).current_dir("/").env("GOBIN", folder);
    go.envs([("GOTOOLCHAIN", format!("go{newest}").as_str()), ("GOENV", "off"), ("GOFLAGS", "")]);
    output(&mut go).map(drop)
}

/// Returns the minor version of the Go toolchain in a folder.
fn minor(bin: &Path) -> Option<u32> {
    let go = bin.join("go");
    if !go.exists() {
        return None;
    }
    let out = Command::new(go).arg("version").output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let number = text.split_whitespace().find_map(|w| w.strip_prefix("go1."))?;
    number.split('.').next()?.parse().ok()
}

/// Downloads a toolchain with Debian's Go. That one may be too old to build with, but toolchains
/// are modules, which it can download.
fn download(release: &str, bin: &Path) -> Outcome {
    eprintln!("downloading Go {release}");
    if !Path::new("/usr/bin/go").exists() {
        apt(&["update", "-q"])?;
        apt(&["install", "-q", "-y", "--no-install-recommends", "golang-go", "ca-certificates"])?;
    }
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let module = format!("golang.org/toolchain@v0.0.1-go{release}.linux-{arch}");
    let mut go = Command::new("/usr/bin/go");
    go.args(["mod", "download", "-json", &module]).current_dir("/").env("GOFLAGS", "-mod=mod");
    let answer = output(&mut go)?;
    let folder = answer
        .lines()
        .find_map(|l| l.trim().strip_prefix("\"Dir\": \"")?.strip_suffix("\","))
        .ok_or_else(|| {
            Failure(format!("`go mod download` did not print the folder of {module}"))
        })?;
    let target = bin.parent().unwrap_or(bin);
    std::fs::create_dir_all(target).explain("cannot create target/go")?;
    let run = |program: &str, args: &[&str]| output(&mut command(program, args)).map(drop);
    run("cp", &["-r", &format!("{folder}/."), &target.display().to_string()])?;
    // Files in the module cache are read-only and not executable.
    run("chmod", &["-R", "u+rwX", &target.display().to_string()])?;
    for tools in ["bin", "pkg/tool"] {
        run("chmod", &["-R", "a+rx", &target.join(tools).display().to_string()])?;
    }
    Ok(())
}
