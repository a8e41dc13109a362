//! Debian packages: one of both programs, and one of the program that links libbcc.

use crate::error::{At, Error, Result, read_text};
use crate::layout::{Layout, Tools};
use crate::run::{date, run};
use crate::stage::Stage;
use crate::{Architecture, NAME, Release};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the program that links libbcc, and of its package.
const HELPER: &str = "usdt-attach-bcc";

const MAINTAINER: &str = "USDT for Go <noreply@invalid>";

/// The fields of a package that differ between the two.
struct Control {
    name: &'static str,
    /// Lines such as `Suggests: bpftrace`, each with its line end.
    relations: String,
    /// The first line is the synopsis. Each further line begins with a space.
    description: &'static str,
}

/// The program that links libbcc, and the versions that it was built with.
#[derive(Debug)]
pub struct Helper<'a> {
    /// Path of the program.
    pub program: &'a Path,
    /// Lowest version of libbcc, such as `0.26.0`.
    pub libbcc: &'a str,
    /// The licenses of the crates that are linked into the program.
    pub licenses: &'a str,
}

/// Writes the package of both programs, and returns its path.
///
/// # Errors
///
/// Fails if a part is missing, a file cannot be written, or dpkg-deb or gzip is not installed.
pub fn tools_package(
    release: &Release,
    architecture: Architecture,
    tools: &Tools<'_>,
) -> Result<PathBuf> {
    let stage = Stage::new(release.scratch.join("deb"))?;
    Layout::Debian.fill(&stage, release, tools)?;
    stage.write(
        &format!("usr/share/lintian/overrides/{NAME}"),
        // Static programs run on every distribution and in images without a C library.
        format!("{NAME}: statically-linked-binary [usr/bin/usdt-*]\n").as_bytes(),
    )?;
    let control = Control {
        name: NAME,
        relations: format!("Suggests: bpftrace, golang-go, {HELPER}\n"),
        description: "static probes (USDT) for Go\n \
            usdt-gen generates Go packages with probes for every Linux tracer,\n \
            and seals binaries.\n \
            usdt-attach lists and traces the probes of programs in any language.\n",
    };
    build(release, architecture, &stage, &control)
}

/// Writes the package of the program that links libbcc, and returns its path.
///
/// # Errors
///
/// Fails if the program is missing or has no version of the C library, a file cannot be written, or
/// dpkg-deb, gzip or readelf is not installed.
pub fn helper_package(
    release: &Release,
    architecture: Architecture,
    helper: &Helper<'_>,
) -> Result<PathBuf> {
    let stage = Stage::new(release.scratch.join("deb-helper"))?;
    stage.copy_program(helper.program, &format!("usr/bin/{HELPER}"))?;
    stage.write(
        &format!("usr/share/doc/{HELPER}/THIRD-PARTY-LICENSES"),
        helper.licenses.as_bytes(),
    )?;
    stage.write(
        &format!("usr/share/lintian/overrides/{HELPER}"),
        // Only usdt-attach starts the program.
        format!("{HELPER}: no-manual-page [usr/bin/{HELPER}]\n").as_bytes(),
    )?;
    let versions = run(Command::new("readelf").arg("-VW").arg(helper.program))?;
    let libc = highest_libc_version(&versions).ok_or_else(|| {
        Error::Unexpected(format!("{} needs no version of glibc", helper.program.display()))
    })?;
    let control = Control {
        name: HELPER,
        relations: format!(
            "Depends: libbpfcc (>= {}), libc6 (>= {libc}), libgcc-s1\n\
             Recommends: {NAME}\n\
             Suggests: linux-headers-generic\n",
            helper.libbcc
        ),
        description: "libbcc for usdt-attach\n \
            usdt-attach run and usdt-attach --backend bcc start this program to compile C.\n",
    };
    build(release, architecture, &stage, &control)
}

/// Returns the highest version of glibc that the output of `readelf -V` names.
fn highest_libc_version(versions: &str) -> Option<String> {
    let numbers = versions
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("GLIBC_"))
        .filter_map(|version| version.split('.').map(|n| n.parse().ok()).collect());
    let highest: Vec<u32> = numbers.max()?;
    Some(highest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}

/// Adds what every package contains, and builds it.
fn build(
    release: &Release,
    architecture: Architecture,
    stage: &Stage,
    control: &Control,
) -> Result<PathBuf> {
    let (name, version) = (control.name, release.sorted_version());
    let documents = format!("usr/share/doc/{name}");
    stage.write(&format!("{documents}/copyright"), copyright(release)?.as_bytes())?;
    let changelog = format!("{documents}/changelog");
    stage.write(&changelog, debian_changelog(release, name, &version)?.as_bytes())?;
    stage.compress(&changelog)?;
    let files = stage.finish()?;
    let mut size = 0;
    for file in &files {
        let path = stage.root().join(file);
        let bytes = path.metadata().at("read", &path)?.len();
        size += bytes.div_ceil(1024);
    }
    let md5sums = run(Command::new("md5sum").arg("--").args(&files).current_dir(stage.root()))?;
    stage.write("DEBIAN/md5sums", md5sums.as_bytes())?;
    let fields = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: {MAINTAINER}\nInstalled-Size: {size}\n{}\
         Section: devel\nPriority: optional\nDescription: {}",
        control.relations, control.description
    );
    stage.write("DEBIAN/control", fields.as_bytes())?;
    stage.finish()?;
    let output = release.output_file(&format!("{name}_{}_{architecture}.deb", release.version))?;
    let mut deb = Command::new("dpkg-deb");
    // The output of several threads differs from that of one.
    deb.args(["--build", "--root-owner-group", "-Zxz", "--threads-max=1"])
        .arg(stage.root())
        .arg(&output)
        .env("SOURCE_DATE_EPOCH", release.time.to_string());
    run(&mut deb)?;
    Ok(output)
}

/// Returns the license of the package in Debian's format.
fn copyright(release: &Release) -> Result<String> {
    let mit = read_text(&release.source.join("LICENSE-MIT"))?;
    let year = date(release, "+%Y")?;
    let mut text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: {NAME}\n\
         Comment: The programs contain crates of others, whose licenses are in\n \
         THIRD-PARTY-LICENSES next to this file.\n\n\
         Files: *\nCopyright: {year} the authors of {NAME}\nLicense: Apache-2.0 or Expat\n\n\
         License: Apache-2.0\n On Debian systems, the license is in\n \
         /usr/share/common-licenses/Apache-2.0.\n\nLicense: Expat\n"
    );
    for line in mit.lines() {
        let _ = writeln!(text, " {}", if line.trim().is_empty() { "." } else { line });
    }
    Ok(text)
}

/// Returns a changelog in Debian's format, with one entry.
fn debian_changelog(release: &Release, name: &str, version: &str) -> Result<String> {
    let date = date(release, "--rfc-email")?;
    Ok(format!(
        "{name} ({version}) unstable; urgency=medium\n\n  \
         * Release {}; CHANGELOG.md of {NAME} lists the changes.\n\n \
         -- {MAINTAINER}  {date}\n",
        release.version
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_libc_are_compared_as_numbers() {
        let versions = "0x0010: Name: GLIBC_2.9 Flags: none\n 0x20: Name: GLIBC_2.34 Flags\n GLIBC_2.2.5 GLIBC_PRIVATE";
        assert_eq!(highest_libc_version(versions).as_deref(), Some("2.34"));
        assert_eq!(highest_libc_version("no version information"), None);
    }
}
