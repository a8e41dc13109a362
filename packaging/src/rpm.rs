//! RPM packages of both programs.

use crate::error::{Result, write};
use crate::layout::{Layout, Tools};
use crate::run::run;
use crate::stage::Stage;
use crate::{Architecture, NAME, Release};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// Macros of rpmbuild. The programs are built already: nothing is stripped, compressed or searched
/// for dependencies, and nothing is taken from this machine or from the current time.
const MACROS: [&str; 8] = [
    "_binary_payload w9.xzdio",
    "_build_id_links none",
    "_buildhost reproducible",
    "__os_install_post %{nil}",
    "debug_package %{nil}",
    "clamp_mtime_to_source_date_epoch 1",
    "source_date_epoch_from_changelog 0",
    "use_source_date_epoch_as_buildtime 1",
];

/// Writes the package, and returns its path.
///
/// # Errors
///
/// Fails if a part is missing, a file cannot be written, or rpmbuild or gzip is not installed.
pub fn rpm(release: &Release, architecture: Architecture, tools: &Tools<'_>) -> Result<PathBuf> {
    let work = release.scratch.join("rpm");
    let stage = Stage::new(work.join("stage"))?;
    Layout::Fedora.fill(&stage, release, tools)?;
    let spec = work.join("usdt-go.spec");
    write(&spec, spec_file(release, &stage.finish()?).as_bytes())?;
    let machine = architecture.machine();
    let file = format!("{NAME}-{}-1.{machine}.rpm", release.version);
    let output = release.output_file(&file)?;
    let folder = |name: &str| work.join(name).display().to_string();
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--target", &format!("{machine}-linux")]);
    for definition in MACROS {
        rpmbuild.args(["--define", definition]);
    }
    for (name, value) in [
        ("_topdir", folder("top")),
        ("_rpmdir", release.output.display().to_string()),
        ("_rpmfilename", file),
        ("staged_files", folder("stage")),
    ] {
        rpmbuild.args(["--define", &format!("{name} {value}")]);
    }
    rpmbuild.arg("--buildroot").arg(folder("root")).arg(&spec);
    run(rpmbuild.env("SOURCE_DATE_EPOCH", release.time.to_string()))?;
    Ok(output)
}

/// Returns rpmbuild's description of the package.
fn spec_file(release: &Release, files: &[String]) -> String {
    let mut spec = format!(
        "Name: {NAME}\nVersion: {}\nRelease: 1\nSummary: Static probes (USDT) for Go\n\
         License: Apache-2.0 OR MIT\nAutoReqProv: no\nSuggests: bpftrace\n\n\
         %description\n\
         usdt-gen generates Go packages with probes for every Linux tracer, and seals binaries.\n\
         usdt-attach lists and traces the probes of programs in any language.\n\n\
         %install\nmkdir -p \"%{{buildroot}}\"\n\
         cp -a \"%{{staged_files}}/.\" \"%{{buildroot}}\"\n\n\
         %files\n%defattr(-,root,root)\n",
        release.sorted_version()
    );
    let (documents, licenses) = (Layout::Fedora.documents(), Layout::Fedora.licenses());
    for folder in [&documents, &licenses] {
        let _ = writeln!(spec, "%dir /{folder}");
    }
    for file in files {
        let mark = match file {
            file if file.starts_with(&documents) => "%doc ",
            file if file.starts_with(&licenses) => "%license ",
            _ => "",
        };
        let _ = writeln!(spec, "{mark}/{file}");
    }
    spec
}
