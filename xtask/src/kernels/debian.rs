//! Packages of other Debian releases and architectures, unpacked into folders instead of installed.

use crate::command::{Explain, Failure, Outcome, execute_quietly, output, root};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Debian release for an architecture, with its own package lists.
pub(crate) struct Release {
    name: &'static str,
    arch: &'static str,
    folder: PathBuf,
}

impl Release {
    /// Returns a release. Its package lists are downloaded when they are first needed.
    pub(crate) fn new(name: &'static str, arch: &'static str) -> Outcome<Release> {
        Ok(Release { name, arch, folder: cache()?.join(format!("lists-{name}-{arch}")) })
    }

    /// Downloads and unpacks packages into a folder, unless it already contains them.
    pub(crate) fn unpack(&self, packages: &[&str], into: &Path) -> Outcome {
        let done = into.join("unpacked");
        let wanted = packages.join("\n");
        if std::fs::read_to_string(&done).is_ok_and(|was| was == wanted) {
            return Ok(());
        }
        self.update()?;
        let fetched = self.folder.join("fetched");
        let _ = std::fs::remove_dir_all(&fetched);
        create(&fetched)?;
        eprintln!("downloading {} from {} for {}", packages.join(" "), self.name, self.arch);
        execute_quietly(
            self.apt("apt-get", &["download", "-qq"]).args(packages).current_dir(&fetched),
        )?;
        for entry in std::fs::read_dir(&fetched).explain("cannot read the downloaded packages")? {
            let package = entry.explain("cannot read the downloaded packages")?.path();
            execute_quietly(Command::new("dpkg").arg("-x").arg(package).arg(into))?;
        }
        std::fs::remove_dir_all(&fetched).explain("cannot remove the downloaded packages")?;
        std::fs::write(done, wanted).explain("cannot record the unpacked packages")
    }

    /// Returns the newest dependency of a package whose name starts with `prefix`. Debian's
    /// metapackages depend on the newest version this way.
    pub(crate) fn newest(&self, package: &str, prefix: &str) -> Outcome<Option<String>> {
        self.update()?;
        let shown = output(&mut self.apt("apt-cache", &["show", package]))?;
        let depends = shown.lines().filter_map(|l| l.strip_prefix("Depends:"));
        let names = depends.flat_map(|l| l.split(',')).filter_map(|d| d.split_whitespace().next());
        Ok(names
            .filter(|name| name.starts_with(prefix))
            .max_by_key(|n| version(n))
            .map(str::to_owned))
    }

    /// Downloads the package lists, once.
    fn update(&self) -> Outcome {
        let done = self.folder.join("updated");
        if done.exists() {
            return Ok(());
        }
        create(&self.folder.join("lists/partial"))?;
        create(&self.folder.join("cache/archives/partial"))?;
        let line = format!("deb {} {} main\n", archive()?, self.name);
        std::fs::write(self.folder.join("sources.list"), line)
            .explain("cannot write a package source")?;
        execute_quietly(self.apt("apt-get", &["update", "-q"]).stdout(Stdio::null()))?;
        std::fs::write(done, "").explain("cannot record that the lists are complete")
    }

    /// Returns an apt command that uses the lists of this release.
    fn apt(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={folder}/lists"),
            "Dir::State::status=/dev/null".to_owned(),
            format!("Dir::Cache={folder}/cache"),
            format!("APT::Architecture={}", self.arch),
            format!("APT::Architectures={}", self.arch),
            // The user of apt's sandbox cannot read folders of this user.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.args(args);
        command
    }
}

/// Returns the numbers in a package name, so that 6.12 is newer than 6.9.
fn version(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// Returns the folder of downloads, which all checkouts share.
pub(crate) fn cache() -> Outcome<PathBuf> {
    let configured = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let folder = configured
        .or_else(home)
        .ok_or_else(|| Failure("neither XDG_CACHE_HOME nor HOME is set".to_owned()))?;
    let folder = folder.join("usdt-kernels");
    create(&folder)?;
    Ok(folder)
}

/// Returns the folder of machine images and logs.
pub(super) fn folder() -> PathBuf {
    root().join("target/kernels")
}

pub(super) fn create(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder).explain(&format!("cannot create {}", folder.display()))
}

/// Returns the Debian archive that this machine uses.
fn archive() -> Outcome<String> {
    let format = "$(CREATED_BY) $(ORIGIN) $(LABEL) $(REPO_URI)";
    let listing =
        output(&mut crate::command::command("apt-get", &["indextargets", "--format", format]))?;
    let debian = listing.lines().find_map(|line| line.strip_prefix("Packages Debian Debian "));
    debian.map(str::to_owned).ok_or_else(|| {
        Failure("the package sources name no Debian archive; run `apt-get update` first".to_owned())
    })
}
