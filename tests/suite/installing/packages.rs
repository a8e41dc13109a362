//! Packages of distributions, the bill of materials, and metadata of `cargo binstall`.

use super::{Parts, TIME, tree};
use packaging::{
    Architecture, CHECKSUMS, Dependencies, Helper, LinkedLibrary, PROGRAMS, Provenance,
    helper_package, rpm, tarball, tarball_name, tools_package, write_checksums, write_installer,
    write_provenance, write_sbom,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::{Need, have, root, stdout};

const VERSION: &str = "1.2.3-rc.1";

/// Writes all files of a release from static programs, with busybox in place of ours.
fn all_files(parts: &Parts, folder: &Path) -> Vec<PathBuf> {
    let release = parts.release(folder, VERSION);
    let crates = Dependencies::of(&root(), &["usdt-gen"], Architecture::Amd64).unwrap();
    let library =
        LinkedLibrary { name: "glibc", version: "2.36".into(), license: "LGPL-2.1-or-later" };
    let helper = helper();
    let mut files = vec![write_installer(&release, Some("https://example.com/usdt")).unwrap()];
    for arch in Architecture::ALL {
        files.extend(parts.with(|tools| {
            [
                tarball(&release, arch, tools).unwrap(),
                tools_package(&release, arch, tools).unwrap(),
                rpm(&release, arch, tools).unwrap(),
                write_sbom(&release, arch, tools.programs, &crates, std::slice::from_ref(&library))
                    .unwrap(),
            ]
        }));
    }
    files.push(helper_package(&release, Architecture::HOST, &helper).unwrap());
    let provenance = Provenance {
        revision: "0123456789abcdef0123456789abcdef01234567",
        repository: Some("https://example.com/usdt"),
        compiler: "rustc 1.95.0",
        architectures: &["amd64", "arm64"],
    };
    files.push(write_provenance(&release, &provenance, &files).unwrap());
    files.push(write_checksums(&release, &files).unwrap());
    files
}

fn busybox_parts() -> Parts {
    Parts::new(|_, to| {
        stdout(Command::new("cp").args(["-L", "/bin/busybox"]).arg(to));
    })
}

/// Any program that is linked with glibc.
fn helper() -> Helper<'static> {
    Helper { program: Path::new("/usr/bin/env"), libbcc: "0.26.0", licenses: "a list\n" }
}

fn have_packagers() -> bool {
    have(&["rpmbuild", "rpm2cpio", "cpio", "dpkg-deb", "busybox", "cargo"].map(Need::Program))
}

#[test]
fn files_depend_on_their_content_only() {
    if !have_packagers() {
        return;
    }
    let parts = busybox_parts();
    let folder = parts.folder.path();
    let first = all_files(&parts, &folder.join("one"));
    // Times and modes of the parts are not those of the packages.
    stdout(Command::new("chmod").arg("-R").arg("go-rwx").arg(parts.programs()));
    stdout(Command::new("find").arg(folder).args(["-type", "f", "-exec", "touch", "{}", "+"]));
    let second = all_files(&parts, &folder.join("another"));
    assert_eq!(first.len(), 12);
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(a.file_name(), b.file_name());
        assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap(), "{}", a.display());
    }
    let output = first[0].parent().unwrap();
    let check = ["--check", "--strict", "--quiet", CHECKSUMS];
    stdout(Command::new("sha256sum").args(check).current_dir(output));
    let sums = std::fs::read_to_string(output.join(CHECKSUMS)).unwrap();
    assert_eq!(sums.lines().count(), first.len() - 1, "{sums}");
    let statement = std::fs::read_to_string(output.join("usdt-go-1.2.3-rc.1.provenance.json"));
    let statement: Value = serde_json::from_str(&statement.unwrap()).unwrap();
    let subjects = statement["subject"].as_array().unwrap();
    assert_eq!(subjects.len(), first.len() - 2);
    for subject in subjects {
        let line = format!(
            "{}  {}\n",
            subject["digest"]["sha256"].as_str().unwrap(),
            subject["name"].as_str().unwrap()
        );
        assert!(sums.contains(&line), "{line}");
    }
}

#[test]
fn debian_package_is_installed_and_removed() {
    if !have_packagers() || !have(&[Need::Program("lintian")]) {
        return;
    }
    let parts = busybox_parts();
    let folder = parts.folder.path();
    let release = parts.release(folder, VERSION);
    let arch = Architecture::HOST;
    let package = parts.with(|tools| tools_package(&release, arch, tools)).unwrap();
    let helper = helper_package(&release, arch, &helper()).unwrap();
    let field = |package: &Path, name: &str| {
        let out = stdout(Command::new("dpkg-deb").arg("--field").arg(package).arg(name));
        out.trim().to_owned()
    };
    // A pre-release sorts before its release.
    assert_eq!(field(&package, "Version"), "1.2.3~rc.1");
    assert_eq!(field(&package, "Architecture"), arch.name());
    let depends = field(&helper, "Depends");
    assert!(depends.starts_with("libbpfcc (>= 0.26.0), libc6 (>= 2."), "{depends}");

    let system = folder.join("system");
    let database = system.join("var/lib/dpkg");
    for path in ["info", "updates", "triggers"] {
        std::fs::create_dir_all(database.join(path)).unwrap();
    }
    std::fs::write(database.join("status"), "").unwrap();
    let dpkg = |args: &[&str]| {
        let mut dpkg = Command::new("dpkg");
        // The new system has no maintainer scripts to run, and no users.
        dpkg.arg(format!("--root={}", system.display())).arg("--force-script-chrootless");
        stdout(dpkg.arg("--log=/dev/null").args(args))
    };
    dpkg(&["--install", package.to_str().unwrap()]);
    assert_eq!(dpkg(&["--verify", "usdt-go"]), "");
    let files = tree(&system);
    for file in [
        "usr/bin/usdt-gen",
        "usr/lib/systemd/system/usdt-attach.service",
        "usr/share/doc/usdt-go/copyright",
        "usr/share/doc/usdt-go/daemonset.yaml",
        "usr/share/man/man1/usdt-attach.1.gz",
        "usr/share/zsh/vendor-completions/_usdt-attach",
    ] {
        assert!(files.iter().any(|path| path == file), "{file} is not in {files:?}");
    }
    dpkg(&["--remove", "usdt-go"]);
    let left = tree(&system);
    assert!(left.iter().all(|path| path == "var" || path.starts_with("var/")), "{left:?}");

    // Nobody answers mail about packages, and busybox contains a package manager.
    let known = "bogus-mail-host,bogus-mail-host-in-debian-changelog,uses-dpkg-database-directly";
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--suppress-tags", known, "--allow-root"]);
    stdout(lintian.arg(&package).arg(&helper).env("LC_ALL", "C"));
}

#[test]
fn rpm_package_has_the_files_and_digests() {
    if !have_packagers() {
        return;
    }
    let parts = busybox_parts();
    let folder = parts.folder.path();
    let release = parts.release(folder, VERSION);
    for arch in Architecture::ALL {
        let package = parts.with(|tools| rpm(&release, arch, tools)).unwrap();
        let query = |args: &[&str]| stdout(Command::new("rpm").arg("-qp").args(args).arg(&package));
        let format = "%{NAME} %{VERSION} %{ARCH} %{LICENSE} %{BUILDTIME} %{BUILDHOST}";
        assert_eq!(
            query(&["--queryformat", format]),
            format!("usdt-go 1.2.3~rc.1 {} Apache-2.0 OR MIT {TIME} reproducible", arch.machine())
        );
        let requires = query(&["--requires"]);
        assert!(requires.lines().all(|line| line.starts_with("rpmlib(")), "{requires}");
        let owners =
            query(&["--queryformat", "[%{FILEUSERNAME} %{FILEGROUPNAME} %{FILEMTIMES}\n]"]);
        let expected = format!("root root {TIME}");
        assert!(owners.lines().all(|line| line == expected), "{owners}");
        let listed = query(&["--list"]);
        let unpacked = folder.join(arch.name());
        std::fs::create_dir(&unpacked).unwrap();
        let unpack = "rpm2cpio \"$1\" | cpio --quiet -id";
        let mut shell = Command::new("sh");
        shell.args(["-c", unpack, "sh"]).arg(&package).current_dir(&unpacked);
        stdout(&mut shell);
        for file in [
            "usr/bin/usdt-attach",
            "usr/lib/systemd/system/usdt-attach.service",
            "usr/share/licenses/usdt-go/THIRD-PARTY-LICENSES",
            "usr/share/zsh/site-functions/_usdt-gen",
        ] {
            assert!(listed.lines().any(|line| line == format!("/{file}")), "{listed}");
            assert!(unpacked.join(file).exists(), "{file}");
        }
        let database = format!("--dbpath={}", folder.join("rpmdb").display());
        stdout(Command::new("rpm").args([&database, "--checksig", "--nosignature"]).arg(&package));
    }
}

#[test]
fn bill_of_materials_names_every_linked_crate() {
    if !have(&[Need::Program("cargo")]) {
        return;
    }
    let parts = Parts::scripts();
    let release = parts.release(parts.folder.path(), VERSION);
    let arch = Architecture::Arm64;
    let packages = ["usdt-gen", "usdt-attach-cli"];
    let crates = Dependencies::of(&root(), &packages, arch).unwrap();
    let library = LinkedLibrary { name: "rust-std", version: "1.95.0".into(), license: "MIT" };
    let file = write_sbom(&release, arch, &parts.programs(), &crates, &[library]).unwrap();
    let sbom: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(sbom["metadata"]["timestamp"], "2025-06-01T12:00:00Z");
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let components = sbom["components"].as_array().unwrap();
    let mut names = Vec::new();
    let mut references = vec![sbom["metadata"]["component"]["bom-ref"].clone()];
    for component in components {
        let (name, version) = (&component["name"], &component["version"]);
        names.push(name.as_str().unwrap());
        references.push(component["bom-ref"].clone());
        if let Some(checksum) = component["hashes"][0]["content"].as_str()
            && component["type"] == "library"
        {
            let entry = format!("name = {name}\nversion = {version}\n");
            let (_, entry) = lock.split_once(&entry).unwrap_or_else(|| panic!("{entry}"));
            let entry = entry.split("\n\n").next().unwrap();
            assert!(entry.contains(&format!("checksum = \"{checksum}\"")), "{component}");
        }
        if component["type"] == "library" {
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        }
    }
    for expected in ["usdt-gen", "usdt-attach", "object", "rustls", "tokio", "rust-std"] {
        assert!(names.contains(&expected), "{expected} is not in {names:?}");
    }
    // Run by the compiler, or by tests only.
    for other in ["serde_derive", "proptest", "insta", "bcc-sys"] {
        assert!(!names.contains(&other), "{other}");
    }
    let edges = sbom["dependencies"].as_array().unwrap();
    for edge in edges {
        for reference in edge["dependsOn"].as_array().unwrap().iter().chain([&edge["ref"]]) {
            assert!(references.contains(reference), "{reference}");
        }
    }
    // Every crate is reachable, so the first edge names the roots only.
    let roots = edges.iter().find(|edge| edge["ref"] == references[0]).unwrap();
    let roots: Vec<&str> =
        roots["dependsOn"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert_eq!(roots.len(), packages.len() + 1, "{roots:?}");
    let licenses = crates.licenses(&[]).unwrap();
    assert!(licenses.contains("\nrustls 0.") && licenses.contains("Permission is hereby granted"));
}

/// `cargo binstall` downloads the URL of the manifest and takes the program out of the tarball.
#[test]
fn binstall_metadata_names_the_tarballs() {
    let parts = Parts::scripts();
    let folder = parts.folder.path();
    for (manifest, name) in
        [("usdt-gen/Cargo.toml", PROGRAMS[0]), ("usdt-attach/cli/Cargo.toml", PROGRAMS[1])]
    {
        let manifest = std::fs::read_to_string(root().join(manifest)).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let binstall = &manifest["package"]["metadata"]["binstall"];
        assert_eq!(binstall["pkg-fmt"].as_str(), Some("tgz"));
        for arch in Architecture::ALL {
            let release = parts.release(folder, VERSION);
            let file = parts.with(|tools| tarball(&release, arch, tools)).unwrap();
            let listed = stdout(Command::new("tar").arg("-tzf").arg(&file));
            for libc in ["gnu", "musl"] {
                let target = format!("{}-unknown-linux-{libc}", arch.machine());
                let entry = &binstall["overrides"][&target];
                let value = |key: &str| {
                    let template = entry[key].as_str().unwrap();
                    let filled = template.replace("{ repo }", "https://example.com/usdt");
                    filled.replace("{ version }", VERSION).replace("{ bin }", name)
                };
                let tarball = tarball_name(VERSION, arch);
                assert_eq!(
                    value("pkg-url"),
                    format!(
                        "https://example.com/usdt/releases/download/v{VERSION}/{tarball}.tar.gz"
                    )
                );
                let program = value("bin-dir");
                assert!(listed.lines().any(|line| line == program), "{program}\n{listed}");
            }
        }
    }
}
