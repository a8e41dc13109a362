//! Kernel headers for tracers that compile C: libbcc and SystemTap use those of the running kernel.
//!
//! If those are not packaged, the newest of Debian serve instead: the tests use nothing that
//! differs. Environment variables point both tracers to them, so nothing changes under
//! `/lib/modules`.

use super::apt::apt;
use crate::command::{Explain, Failure, Outcome, command, output, root};
use crate::tools::KernelHeaders;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Finds or installs the headers. Returns `None` if neither is possible.
pub(super) fn find_or_install() -> Outcome<Option<KernelHeaders>> {
    let release = output(&mut command("uname", &["-r"]))?;
    let release = release.trim();
    let installed = Path::new("/lib/modules").join(release).join("build");
    if installed.exists() || std::env::var_os("BCC_KERNEL_SOURCE").is_some() {
        return Ok(Some(KernelHeaders::Installed));
    }
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    if newest(arch).is_none() {
        if !Path::new("/usr/bin/apt-get").exists() {
            return Ok(None);
        }
        apt(&["update", "-q"])?;
        let install = ["install", "-q", "-y", "--no-install-recommends"];
        let install = |package: &str| apt(&[&install[..], &[package]].concat());
        install(&format!("linux-headers-{release}"))
            .or_else(|_| install(&format!("linux-headers-{arch}")))?;
        if installed.exists() {
            return Ok(Some(KernelHeaders::Installed));
        }
    }
    let Some(build) = newest(arch) else { return Ok(None) };
    let merged = merge(&build)?;
    Ok(Some(KernelHeaders::Elsewhere { merged, build }))
}

/// Returns the folder of the newest installed headers of an architecture.
fn newest(arch: &str) -> Option<PathBuf> {
    let version = |path: &PathBuf| -> Option<Vec<u32>> {
        let name = path.file_name()?.to_str()?;
        let version = name.strip_prefix("linux-headers-")?.strip_suffix(arch)?.strip_suffix('-')?;
        // Flavors such as `cloud` are not numbers and end the version.
        Some(version.split(['.', '-']).map_while(|number| number.parse().ok()).collect())
    };
    let folders = fs::read_dir("/usr/src").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders.filter(|path| version(path).is_some()).max_by_key(version)
}

/// Merges Debian's two trees of headers into one tree of symbolic links.
///
/// One tree has the headers of a configuration. Its makefile includes the tree of headers that all
/// configurations share.
fn merge(build: &Path) -> Outcome<PathBuf> {
    let makefile = build.join("Makefile");
    let makefile =
        fs::read_to_string(&makefile).explain(&format!("cannot read {}", makefile.display()))?;
    let common =
        makefile.lines().find_map(|line| line.strip_prefix("include ")?.strip_suffix("/Makefile"));
    let common = common.ok_or_else(|| {
        Failure(format!("{}/Makefile does not include the common headers", build.display()))
    })?;
    let merged = root().join("target/kernel-headers").join(build.file_name().unwrap_or_default());
    if merged.exists() {
        return Ok(merged);
    }
    // The folder is renamed when it is complete, so that no other run sees a part of it.
    let new = merged.with_extension(std::process::id().to_string());
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86" };
    for folder in ["include".to_owned(), format!("arch/{arch}/include")] {
        let to = new.join(&folder);
        fs::create_dir_all(&to).explain(&format!("cannot create {}", to.display()))?;
        for from in [Path::new(common), build] {
            let from = from.join(&folder);
            for entry in
                fs::read_dir(&from).explain(&format!("cannot read {}", from.display()))?.flatten()
            {
                let link = to.join(entry.file_name());
                symlink(entry.path(), &link)
                    .explain(&format!("cannot create {}", link.display()))?;
            }
        }
    }
    match fs::rename(&new, &merged) {
        Ok(()) => Ok(merged),
        // Another run has created it meanwhile.
        Err(_) if merged.exists() => {
            fs::remove_dir_all(&new).explain("cannot remove the temporary folder").map(|()| merged)
        }
        Err(e) => Err(Failure(format!("cannot create {}: {e}", merged.display()))),
    }
}
