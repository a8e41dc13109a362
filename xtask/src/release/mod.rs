//! The files of a release in `target/dist`: static programs for each architecture in tarballs and
//! packages, the installer, bills of materials, provenance and checksums.

mod build;

use crate::command::{Explain, Failure, Outcome, command, output, root};
use crate::setup;
use crate::tools::BCC_HELPER;
use build::{Build, Programs};
use packaging::{
    Architecture, Dependencies, Helper, Provenance, Release, Tools, helper_package,
    linked_libraries, rpm, tarball, tools_package, write_checksums, write_installer,
    write_provenance, write_sbom,
};
use std::path::{Path, PathBuf};

/// The crates of the programs.
const CRATES: [&str; 2] = ["usdt-gen", "usdt-attach-cli"];

/// What the command line asks for.
struct Request {
    architectures: Vec<Architecture>,
    /// URL of the repository, from which `install.sh` downloads by default.
    repository: Option<String>,
}

/// The commit that is released.
struct Revision {
    commit: String,
    /// Its time, in seconds since 1970.
    time: u64,
}

/// Builds everything twice, in folders of different names, and fails unless every byte is the same.
pub(crate) fn run(args: &[String]) -> Outcome {
    let request = Request::parse(args)?;
    let revision = Revision::of_the_tree()?;
    setup::release()?;
    let first = make("release-one", &request, &revision)?;
    let second = make("release-number-two", &request, &revision)?;
    compare(&first, &second)?;
    publish(&first)
}

impl Request {
    fn parse(args: &[String]) -> Outcome<Request> {
        let mut request = Request { architectures: Vec::new(), repository: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--repository" {
                let url = args.next().ok_or("no URL follows").explain("--repository")?;
                request.repository = Some(url.clone());
            } else {
                let named = Architecture::named(arg).ok_or("the architectures are amd64 and arm64");
                request.architectures.push(named.explain(&format!("cannot build for `{arg}`"))?);
            }
        }
        if request.architectures.is_empty() {
            request.architectures.extend(Architecture::ALL);
        }
        Ok(request)
    }
}

impl Revision {
    /// Fails if files differ from the commit: the provenance names the commit as their source.
    fn of_the_tree() -> Outcome<Revision> {
        let changes = output(&mut command("git", &["status", "--porcelain"]))?;
        if !changes.is_empty() {
            return Err(Failure(format!(
                "the release is that of a commit: commit these changes first\n{changes}"
            )));
        }
        let log = output(&mut command("git", &["log", "-1", "--format=%H %ct"]))?;
        let (commit, time) = log.trim().split_once(' ').unwrap_or_default();
        let time = time.parse().explain("cannot read the time of the commit")?;
        Ok(Revision { commit: commit.to_owned(), time })
    }
}

/// Builds and packages in a folder of its own, and returns the files.
fn make(name: &str, request: &Request, revision: &Revision) -> Outcome<Vec<PathBuf>> {
    let build = Build::new(root().join("target").join(name), revision)?;
    let release = Release {
        source: build.tree(),
        scratch: build.folder.join("packages"),
        output: build.folder.join("dist"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: revision.time,
    };
    // An earlier run may have left files of another version.
    let _ = std::fs::remove_dir_all(&release.output);
    let manuals = build.manuals()?;
    let mut files = Vec::new();
    for &architecture in &request.architectures {
        let programs = build.programs(architecture)?;
        files.extend(package(&release, architecture, &programs, &manuals)?);
    }
    files.push(write_installer(&release, request.repository.as_deref()).explain("install.sh")?);
    let compiler = output(&mut command("rustc", &["-vV"]))?;
    let provenance = Provenance {
        revision: &revision.commit,
        repository: request.repository.as_deref(),
        compiler: compiler.lines().next().unwrap_or_default(),
        architectures: &request.architectures.iter().map(|a| a.name()).collect::<Vec<_>>(),
    };
    files.push(write_provenance(&release, &provenance, &files).explain("provenance")?);
    files.push(write_checksums(&release, &files).explain("checksums")?);
    Ok(files)
}

/// Packages the programs of an architecture.
fn package(
    release: &Release,
    architecture: Architecture,
    programs: &Programs,
    manuals: &Path,
) -> Outcome<Vec<PathBuf>> {
    let packaging = |crates: &[&str]| Dependencies::of(&release.source, crates, architecture);
    let dependencies = packaging(&CRATES).explain("dependencies")?;
    let libraries = linked_libraries(&build::linker(architecture)).explain("libraries")?;
    let licenses = dependencies.licenses(&libraries).explain("licenses")?;
    let tools = Tools { programs: &programs.folder, manuals, licenses: &licenses };
    let mut files = vec![
        tarball(release, architecture, &tools).explain("tarball")?,
        tools_package(release, architecture, &tools).explain("Debian package")?,
        rpm(release, architecture, &tools).explain("RPM package")?,
        write_sbom(release, architecture, &programs.folder, &dependencies, &libraries)
            .explain("bill of materials")?,
    ];
    if let Some((program, libbcc)) = &programs.helper {
        // The helper links glibc and libbcc dynamically.
        let rust: Vec<_> = libraries.into_iter().filter(|l| l.name == "rust-std").collect();
        let licenses = packaging(&[BCC_HELPER]).and_then(|crates| crates.licenses(&rust));
        let licenses = licenses.explain("licenses of the helper")?;
        let helper = Helper { program, libbcc, licenses: &licenses };
        files.push(
            helper_package(release, architecture, &helper)
                .explain("Debian package of the helper")?,
        );
    }
    Ok(files)
}

/// Fails unless both builds gave the same files.
fn compare(first: &[PathBuf], second: &[PathBuf]) -> Outcome {
    for (a, b) in first.iter().zip(second) {
        let read =
            |path: &Path| std::fs::read(path).explain(&format!("cannot read {}", path.display()));
        if read(a)? != read(b)? {
            return Err(Failure(format!("{} and {} differ", a.display(), b.display())));
        }
    }
    if first.len() == second.len() {
        return Ok(());
    }
    Err(Failure(format!("one build has {} files, the other {}", first.len(), second.len())))
}

/// Copies the files to `target/dist`, which then holds nothing else.
fn publish(files: &[PathBuf]) -> Outcome {
    let dist = root().join("target/dist");
    // It may not exist yet.
    let _ = std::fs::remove_dir_all(&dist);
    std::fs::create_dir_all(&dist).explain("cannot create target/dist")?;
    for file in files {
        let to = dist.join(file.file_name().unwrap_or_default());
        let size = std::fs::copy(file, &to).explain("cannot write to target/dist")?;
        println!("{size:>10} bytes, reproducible: {}", to.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Outcome<Request> {
        Request::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn builds_every_architecture_unless_one_is_named() {
        assert_eq!(parse(&[]).unwrap().architectures, Architecture::ALL);
        let request = parse(&["arm64", "--repository", "https://example.com/a"]).unwrap();
        assert_eq!(request.architectures, [Architecture::Arm64]);
        assert_eq!(request.repository.as_deref(), Some("https://example.com/a"));
        assert!(parse(&["riscv64"]).is_err() && parse(&["--repository"]).is_err());
    }

    #[test]
    fn a_difference_between_builds_is_named() {
        let file = |content: &str| {
            let path =
                std::env::temp_dir().join(format!("usdt-xtask-{}-{content}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            path
        };
        let (a, b) = ([file("a")], [file("b")]);
        assert!(compare(&a, &a).is_ok() && compare(&a, &[]).is_err());
        let Failure(message) = compare(&a, &b).unwrap_err();
        assert!(message.ends_with("differ"), "{message}");
        a.iter().chain(&b).for_each(|file| std::fs::remove_file(file).unwrap());
    }
}
