//! Release artifacts in `target/dist`: static programs, manuals, completions, and a Debian package.

use crate::command::{Explain, Failure, Outcome, copy_tree, execute, output, root};
use crate::setup;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 2] = ["usdt-gen", "usdt-attach"];

/// One of the two builds that are compared.
struct Build {
    /// Folder that contains the `tree` that is built.
    folder: PathBuf,
    target: String,
    /// Modification time of files in packages, in seconds since 1970.
    time: String,
}

/// Builds everything twice, in folders of different names, and fails unless every byte is the same.
pub(crate) fn run(_: &[String]) -> Outcome {
    setup::build()?;
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))?;
    let build = |name: &str| Build {
        folder: root().join("target").join(name),
        target: host.to_owned(),
        time: time.trim().to_owned(),
    };
    let (first, second) = (build("release-one"), build("release-number-two"));
    let (first_artifacts, second_artifacts) = (first.run()?, second.run()?);
    let dist = root().join("target/dist");
    std::fs::create_dir_all(&dist).explain("cannot create target/dist")?;
    for (a, b) in first_artifacts.iter().zip(&second_artifacts) {
        let name = a.file_name().unwrap_or_default();
        let read =
            |path: &Path| std::fs::read(path).explain(&format!("cannot read {}", path.display()));
        if read(a)? != read(b)? {
            return Err(Failure(format!("{} and {} differ", a.display(), b.display())));
        }
        std::fs::copy(a, dist.join(name)).explain("cannot write to target/dist")?;
        println!("{:>10} bytes, reproducible: {}", read(a)?.len(), dist.join(name).display());
    }
    Ok(())
}

impl Build {
    /// Builds, and returns the paths of the artifacts.
    fn run(&self) -> Outcome<Vec<PathBuf>> {
        copy_tree(&self.folder)?;
        let programs = self.folder.join("target").join(&self.target).join("release");
        // Built separately, so that each program has only its own features.
        self.cargo("build", &["--release", "-p", "usdt-gen"])?;
        self.cargo("build", &["--release", "-p", "usdt-attach-cli"])?;
        for name in PROGRAMS {
            let program = programs.join(name);
            let headers = output(Command::new("readelf").arg("-lW").arg(&program))?;
            if headers.contains("INTERP") {
                return Err(Failure(format!(
                    "{} is not static: it has a program interpreter",
                    program.display()
                )));
            }
        }
        let mut artifacts: Vec<PathBuf> = PROGRAMS.iter().map(|name| programs.join(name)).collect();
        artifacts.push(self.package(&programs)?);
        Ok(artifacts)
    }

    /// Runs cargo on the tree, with paths remapped so that the output does not depend on them.
    fn cargo(&self, subcommand: &str, args: &[&str]) -> Outcome {
        let tree = self.folder.join("tree");
        let home = std::env::var("CARGO_HOME").unwrap_or_else(|_| {
            format!("{}/.cargo", std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()))
        });
        let remapped = [
            (tree.display().to_string(), "/usdt"),
            (home, "/cargo"),
            (self.target_folder(), "/target"),
        ];
        let mut rust = vec!["-C target-feature=+crt-static".to_owned()];
        for (from, to) in &remapped {
            rust.push(format!("--remap-path-prefix={from}={to}"));
        }
        let mut cargo = Command::new("cargo");
        cargo
            .args([subcommand, "--locked", "--target", &self.target])
            .args(args)
            .current_dir(&tree);
        cargo.env("CARGO_TARGET_DIR", self.target_folder()).env("RUSTFLAGS", rust.join(" "));
        execute(cargo.env("SOURCE_DATE_EPOCH", &self.time))
    }

    fn target_folder(&self) -> String {
        self.folder.join("target").display().to_string()
    }

    /// Builds the Debian package: both programs, manuals and completions.
    fn package(&self, programs: &Path) -> Outcome<PathBuf> {
        let folder = self.folder.join("package");
        // An earlier run may have left the folder.
        let _ = std::fs::remove_dir_all(&folder);
        let create = |path: PathBuf| {
            std::fs::create_dir_all(&path).explain("cannot create the package").map(|()| path)
        };
        let (bin, control) = (create(folder.join("usr/bin"))?, create(folder.join("DEBIAN"))?);
        for name in PROGRAMS {
            std::fs::copy(programs.join(name), bin.join(name)).explain("cannot copy a program")?;
        }
        self.cargo(
            "run",
            &["-q", "-p", "usdt-e2e", "--bin", "manuals", "--", &folder.display().to_string()],
        )?;
        let man = folder.join("usr/share/man/man1");
        for page in std::fs::read_dir(&man).explain("no manuals")?.flatten() {
            execute(Command::new("gzip").args(["-9", "-n"]).arg(page.path()))?;
        }
        let doc = create(folder.join("usr/share/doc/usdt-go"))?;
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md", "README.md"] {
            std::fs::copy(root().join(file), doc.join(file))
                .explain(&format!("cannot copy {file}"))?;
        }
        let units = create(folder.join("usr/lib/systemd/system"))?;
        for (file, place) in [("packaging/usdt-attach.service", &units), ("docs/export.toml", &doc)]
        {
            let name = Path::new(file).file_name().unwrap_or_default();
            std::fs::copy(root().join(file), place.join(name))
                .explain(&format!("cannot copy {file}"))?;
        }
        let arch = output(Command::new("dpkg").arg("--print-architecture"))?;
        let version = env!("CARGO_PKG_VERSION");
        let control_file = format!(
            "Package: usdt-go\nVersion: {version}\nArchitecture: {}\nSection: devel\nPriority: optional\n\
             Maintainer: USDT for Go <noreply@invalid>\nSuggests: golang-go, bpftrace\n\
             Description: static probes (USDT) for Go\n \
             usdt-gen generates Go packages with probes for every Linux tracer and seals binaries;\n \
             usdt-attach lists and traces the probes of programs in any language.\n",
            arch.trim()
        );
        std::fs::write(control.join("control"), control_file)
            .explain("cannot write the package's description")?;
        execute(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(&folder))?;
        let file = self.folder.join(format!("usdt-go_{version}_{}.deb", arch.trim()));
        let mut deb = Command::new("dpkg-deb");
        deb.args(["--build", "--root-owner-group"]).arg(&folder).arg(&file);
        execute(deb.env("SOURCE_DATE_EPOCH", &self.time))?;
        Ok(file)
    }
}
