//! Turns built programs into the files of a release: tarballs, Debian and RPM packages, the
//! installer, a bill of materials, provenance and checksums.
//!
//! Nothing here builds a program, so tests can package any two executables. The output depends only
//! on the input: every file has the time of the release, and every list is sorted.

mod architecture;
mod checksums;
mod deb;
mod dependencies;
mod error;
mod installer;
mod layout;
mod licenses;
mod provenance;
mod rpm;
mod run;
mod sbom;
mod stage;
mod tarball;

pub use architecture::Architecture;
pub use checksums::{CHECKSUMS, write_checksums};
pub use deb::{Helper, helper_package, tools_package};
pub use dependencies::Dependencies;
pub use error::{Error, Result};
pub use installer::write_installer;
pub use layout::{PROGRAMS, Tools};
pub use provenance::{Provenance, write_provenance};
pub use rpm::rpm;
pub use sbom::{LinkedLibrary, linked_libraries, write_sbom};
pub use tarball::{tarball, tarball_name};

use std::path::PathBuf;

/// Name of the packages that hold both programs.
pub const NAME: &str = "usdt-go";

/// What all files of a release have in common.
#[derive(Debug)]
pub struct Release {
    /// Root of the source tree, from which documents and licenses are taken.
    pub source: PathBuf,
    /// Folder for temporary files. It is created if it does not exist.
    pub scratch: PathBuf,
    /// Folder that receives the files. It is created if it does not exist.
    pub output: PathBuf,
    /// Version of both programs, such as `0.2.0` or `0.2.0-rc.1`.
    pub version: String,
    /// Modification time of each file in a package, in seconds since 1970.
    pub time: u64,
}

impl Release {
    /// Returns the version as package managers sort it: a pre-release precedes its release.
    pub(crate) fn sorted_version(&self) -> String {
        self.version.replacen('-', "~", 1)
    }

    /// Returns the path of an output file, after creating the folder.
    pub(crate) fn output_file(&self, name: &str) -> Result<PathBuf> {
        error::create_folder(&self.output)?;
        Ok(self.output.join(name))
    }
}
