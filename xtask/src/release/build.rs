//! Builds the programs of a release in a copy of the source tree.

use super::Revision;
use crate::command::{Explain, Failure, Outcome, command, execute, output};
use crate::tools::BCC_HELPER;
use packaging::{Architecture, PROGRAMS};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of the two builds that are compared.
pub(super) struct Build {
    /// Folder that contains the `tree` that is built.
    pub(super) folder: PathBuf,
    /// The time of the release, in seconds since 1970.
    time: u64,
}

/// The built programs of an architecture.
pub(super) struct Programs {
    /// Folder that contains both programs.
    pub(super) folder: PathBuf,
    /// The program that links libbcc, and the version of libbcc. `None` if libbcc is not installed
    /// for the architecture.
    pub(super) helper: Option<(PathBuf, String)>,
}

/// How a program is linked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Linking {
    Static,
    Dynamic,
}

/// Returns the compiler that links programs for an architecture.
pub(super) fn linker(architecture: Architecture) -> String {
    if architecture == Architecture::HOST {
        "cc".to_owned()
    } else {
        format!("{}-gcc", architecture.multiarch())
    }
}

impl Build {
    /// Unpacks the source tree of a commit below `folder`: files may change while a release is
    /// built.
    pub(super) fn new(folder: PathBuf, revision: &Revision) -> Outcome<Build> {
        let build = Build { folder, time: revision.time };
        let tree = build.tree();
        // An earlier run may have left the folder.
        let _ = std::fs::remove_dir_all(&tree);
        std::fs::create_dir_all(&tree).explain("cannot create a folder below target")?;
        let archive = build.folder.join("tree.tar");
        let mut git = command("git", &["archive", "--format=tar", "--output"]);
        execute(git.arg(&archive).arg(&revision.commit))?;
        // Without the times of the commit, which may be before those of an earlier build: cargo
        // compares them.
        execute(Command::new("tar").arg("-xmf").arg(&archive).arg("-C").arg(&tree))?;
        Ok(build)
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Builds the programs of an architecture.
    pub(super) fn programs(&self, architecture: Architecture) -> Outcome<Programs> {
        let folder = self.target_folder().join(architecture.target()).join("release");
        // Built separately, so that each program has only its own features.
        for package in super::CRATES {
            let args = ["--release", "-p", package];
            self.cargo("build", architecture, Linking::Static, &args)?;
        }
        for name in PROGRAMS {
            let program = folder.join(name);
            let headers = output(Command::new("readelf").arg("-lW").arg(&program))?;
            if headers.contains("INTERP") {
                return Err(Failure(format!(
                    "{} is not static: it has a program interpreter",
                    program.display()
                )));
            }
        }
        let helper = match installed_libbcc(architecture) {
            Some(version) => {
                let args = ["--release", "-p", BCC_HELPER];
                self.cargo("build", architecture, Linking::Dynamic, &args)?;
                Some((folder.join(BCC_HELPER), version))
            }
            None => {
                eprintln!(
                    "left out: the package {BCC_HELPER} for {architecture}: \
                     libbpfcc-dev:{architecture} is not installed"
                );
                None
            }
        };
        Ok(Programs { folder, helper })
    }

    /// Writes manual pages and completions, and returns their folder.
    pub(super) fn manuals(&self) -> Outcome<PathBuf> {
        let folder = self.folder.join("manuals");
        // An earlier run may have left the folder.
        let _ = std::fs::remove_dir_all(&folder);
        let to = folder.display().to_string();
        let args = ["-q", "-p", "usdt-e2e", "--bin", "manuals", "--", &to];
        self.cargo("run", Architecture::HOST, Linking::Static, &args)?;
        Ok(folder)
    }

    /// Runs cargo on the tree, with paths remapped so that the output does not depend on them.
    fn cargo(
        &self,
        subcommand: &str,
        architecture: Architecture,
        linking: Linking,
        args: &[&str],
    ) -> Outcome {
        let target = architecture.target();
        let mut cargo = Command::new("cargo");
        cargo
            .args([subcommand, "--locked", "--target", &target])
            .args(args)
            .current_dir(self.tree())
            .env("CARGO_TARGET_DIR", self.target_folder())
            .env("RUSTFLAGS", self.compiler_flags(linking))
            .env("SOURCE_DATE_EPOCH", self.time.to_string());
        if architecture != Architecture::HOST {
            let name = target.to_uppercase().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{name}_LINKER"), linker(architecture));
        }
        execute(&mut cargo)
    }

    fn compiler_flags(&self, linking: Linking) -> String {
        let home = std::env::var("CARGO_HOME").unwrap_or_else(|_| {
            format!("{}/.cargo", std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()))
        });
        let mut flags = Vec::new();
        if linking == Linking::Static {
            flags.push("-C target-feature=+crt-static".to_owned());
        }
        for (from, to) in [
            (self.tree(), "/usdt"),
            (PathBuf::from(home), "/cargo"),
            (self.target_folder(), "/target"),
        ] {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        }
        flags.join(" ")
    }

    fn target_folder(&self) -> PathBuf {
        self.folder.join("target")
    }
}

/// Returns the version of the installed libbcc of an architecture; `None` if it is not installed.
fn installed_libbcc(architecture: Architecture) -> Option<String> {
    let library = format!("/usr/lib/{}/libbcc.so", architecture.multiarch());
    if !Path::new(&library).exists() {
        return None;
    }
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Version}", &format!("libbpfcc:{architecture}")]);
    let version = query.output().explain("dpkg-query").ok()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    // Without the epoch and the revision of the distribution.
    let version = version.rsplit(':').next()?.split(['+', '-', '~']).next()?;
    (!version.is_empty()).then(|| version.to_owned())
}
