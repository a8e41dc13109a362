//! The files of a release, packaged from the debug builds: installed, used and removed.

mod fresh_root;
mod installer;
mod missing_generator;
mod packages;

use packaging::{
    Architecture, PROGRAMS, Release, Tools, tarball, write_checksums, write_installer,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::{root, stdout, tools};

/// The time of all files in packages: 2025-06-01 12:00:00 UTC.
const TIME: u64 = 1_748_779_200;

/// Parts of packages, in a folder that is removed with the test.
pub(crate) struct Parts {
    folder: tempfile::TempDir,
}

impl Parts {
    /// The debug builds, without symbols, which packages do not contain either.
    pub(crate) fn debug_builds() -> Parts {
        Parts::new(|name, to| {
            stdout(Command::new("strip").arg("-o").arg(to).arg(tools().join(name)));
        })
    }

    /// Scripts instead of the programs, which print their name.
    fn scripts() -> Parts {
        Parts::new(|name, to| {
            std::fs::write(to, format!("#!/bin/sh\necho {name} \"$@\"\n")).unwrap();
            stdout(Command::new("chmod").arg("755").arg(to));
        })
    }

    fn new(create: impl Fn(&str, &Path)) -> Parts {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        PROGRAMS.iter().for_each(|name| create(name, &folder.path().join("bin").join(name)));
        let manuals = env!("CARGO_BIN_EXE_manuals");
        stdout(Command::new(manuals).arg(folder.path().join("manuals")));
        Parts { folder }
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// Calls `package` with the parts of the packages.
    fn with<T>(&self, package: impl FnOnce(&Tools<'_>) -> T) -> T {
        let manuals = self.folder.path().join("manuals");
        package(&Tools { programs: &self.programs(), manuals: &manuals, licenses: "a list\n" })
    }

    /// Returns a release that is written to `folder`.
    fn release(&self, folder: &Path, version: &str) -> Release {
        Release {
            source: root(),
            scratch: folder.join("scratch"),
            output: folder.join("my release"),
            version: version.to_owned(),
            time: TIME,
        }
    }

    /// Writes a release of tarballs, the installer and the checksums, and returns its folder.
    pub(crate) fn tarballs(&self, folder: &Path, version: &str) -> PathBuf {
        let release = self.release(folder, version);
        let mut files = vec![write_installer(&release, None).unwrap()];
        files.extend(
            Architecture::ALL
                .map(|arch| self.with(|tools| tarball(&release, arch, tools)).unwrap()),
        );
        write_checksums(&release, &files).unwrap();
        release.output
    }
}

/// Returns the paths of all files and folders below a folder, sorted, without the folder itself.
fn tree(folder: &Path) -> Vec<String> {
    let list = stdout(Command::new("find").args([".", "-mindepth", "1"]).current_dir(folder));
    let mut paths: Vec<String> = list.lines().map(|path| path[2..].to_owned()).collect();
    paths.sort();
    paths
}
