//! Which files the packages of the two programs contain, and where each format puts them.

use crate::error::{Result, entries};
use crate::stage::Stage;
use crate::{NAME, Release};
use std::path::Path;

/// The programs of a release.
pub const PROGRAMS: [&str; 2] = ["usdt-gen", "usdt-attach"];

/// The built parts of the packages of both programs.
#[derive(Debug)]
pub struct Tools<'a> {
    /// Folder that contains both programs.
    pub programs: &'a Path,
    /// Folder that the program `manuals` of the tests has written.
    pub manuals: &'a Path,
    /// The licenses of the crates that are linked into the programs.
    pub licenses: &'a str,
}

/// Where a format puts files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Relative to a prefix such as `/usr/local`.
    Prefix,
    /// Relative to `/`, in the folders of Debian.
    Debian,
    /// Relative to `/`, in the folders of Fedora.
    Fedora,
}

impl Layout {
    /// Returns the prefix of all paths.
    fn prefix(self) -> &'static str {
        match self {
            Layout::Prefix => "",
            Layout::Debian | Layout::Fedora => "usr/",
        }
    }

    /// Returns the folder of zsh's completions.
    fn zsh(self) -> &'static str {
        match self {
            Layout::Debian => "share/zsh/vendor-completions",
            Layout::Prefix | Layout::Fedora => "share/zsh/site-functions",
        }
    }

    /// Returns the folder of documents.
    pub(crate) fn documents(self) -> String {
        format!("{}share/doc/{NAME}", self.prefix())
    }

    /// Returns the folder of licenses.
    pub(crate) fn licenses(self) -> String {
        match self {
            Layout::Fedora => format!("usr/share/licenses/{NAME}"),
            Layout::Prefix | Layout::Debian => self.documents(),
        }
    }

    /// Returns the folder of systemd's unit. The unit names the program by its path below `/usr`, so
    /// it is an example elsewhere.
    fn unit(self) -> String {
        match self {
            Layout::Prefix => self.documents(),
            Layout::Debian | Layout::Fedora => "usr/lib/systemd/system".to_owned(),
        }
    }

    /// Fills a stage with the files of both programs.
    pub(crate) fn fill(self, stage: &Stage, release: &Release, tools: &Tools<'_>) -> Result<()> {
        let prefix = self.prefix();
        for name in PROGRAMS {
            stage.copy_program(&tools.programs.join(name), &format!("{prefix}bin/{name}"))?;
        }
        self.add_manuals(stage, tools.manuals)?;
        let (documents, licenses) = (self.documents(), self.licenses());
        for (file, folder) in [
            ("README.md", &documents),
            ("CHANGELOG.md", &documents),
            ("docs/export.toml", &documents),
            ("packaging/Containerfile", &documents),
            ("packaging/daemonset.yaml", &documents),
            ("packaging/usdt-attach.service", &self.unit()),
            ("LICENSE-APACHE", &licenses),
            ("LICENSE-MIT", &licenses),
        ] {
            let name = file.rsplit('/').next().unwrap_or(file);
            stage.copy(&release.source.join(file), &format!("{folder}/{name}"))?;
        }
        stage.write(&format!("{licenses}/THIRD-PARTY-LICENSES"), tools.licenses.as_bytes())
    }

    /// Copies manual pages and completions. Packages of distributions compress manual pages.
    fn add_manuals(self, stage: &Stage, manuals: &Path) -> Result<()> {
        let prefix = self.prefix();
        for (from, to) in [
            ("man1", "share/man/man1"),
            ("bash", "share/bash-completion/completions"),
            ("zsh", self.zsh()),
            ("fish", "share/fish/vendor_completions.d"),
        ] {
            for file in entries(&manuals.join(from))? {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let path = format!("{prefix}{to}/{name}");
                stage.copy(&file, &path)?;
                if from == "man1" && self != Layout::Prefix {
                    stage.compress(&path)?;
                }
            }
        }
        Ok(())
    }
}
