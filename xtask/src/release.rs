//! What users install, in `target/dist`: programs without shared libraries, manuals, completions, a Debian package.
//! Built twice, in folders of different names; every byte must be the same.

use crate::command::{Explain, Failure, Outcome, copy_tree, execute, output, root};
use crate::setup;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 2] = ["usdt-gen", "usdt-attach"];

/// One build.
struct Build {
    /// Holds the `tree` that is built.
    folder: PathBuf,
    target: String,
    /// Seconds since 1970 that files in packages carry.
    time: String,
}

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
    let mut made = Vec::new();
    for one in [&first, &second] {
        made.push(one.run()?);
    }
    let [one, two] = &made[..] else { return Err(Failure("two builds were wanted".to_owned())) };
    let dist = root().join("target/dist");
    std::fs::create_dir_all(&dist).explain("cannot create target/dist")?;
    for (a, b) in one.iter().zip(two) {
        let name = a.file_name().unwrap_or_default();
        let read =
            |path: &Path| std::fs::read(path).explain(&format!("cannot read {}", path.display()));
        if read(a)? != read(b)? {
            return Err(Failure(format!("{} and {} differ", a.display(), b.display())));
        }
        std::fs::copy(a, dist.join(name)).explain("cannot write to target/dist")?;
        println!("{:>10} bytes, twice the same: {}", read(a)?.len(), dist.join(name).display());
    }
    Ok(())
}

impl Build {
    /// Returns what it made.
    fn run(&self) -> Outcome<Vec<PathBuf>> {
        copy_tree(&self.folder)?;
        let programs = self.folder.join("target").join(&self.target).join("release");
        // Alone, so that features are those that each is installed with.
        self.cargo("build", &["--release", "-p", "usdt-gen"])?;
        self.cargo("build", &["--release", "-p", "usdt-attach-cli"])?;
        for name in PROGRAMS {
            let program = programs.join(name);
            let headers = output(Command::new("readelf").arg("-lW").arg(&program))?;
            if headers.contains("INTERP") {
                return Err(Failure(format!("{} wants shared libraries", program.display())));
            }
        }
        let mut made: Vec<PathBuf> = PROGRAMS.iter().map(|name| programs.join(name)).collect();
        made.push(self.package(&programs)?);
        Ok(made)
    }

    /// A command on the tree, such that nothing depends on where it is.
    fn cargo(&self, subcommand: &str, args: &[&str]) -> Outcome {
        let tree = self.folder.join("tree");
        let home = std::env::var("CARGO_HOME").unwrap_or_else(|_| {
            format!("{}/.cargo", std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()))
        });
        let places = [
            (tree.display().to_string(), "/usdt"),
            (home, "/cargo"),
            (self.target_folder(), "/target"),
        ];
        let mut rust = vec!["-C target-feature=+crt-static".to_owned()];
        for (from, to) in &places {
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

    /// The Debian package: both programs, manuals, completions.
    fn package(&self, programs: &Path) -> Outcome<PathBuf> {
        let folder = self.folder.join("package");
        // Of an earlier run, where there was one.
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
        let about = format!(
            "Package: usdt-go\nVersion: {version}\nArchitecture: {}\nSection: devel\nPriority: optional\n\
             Maintainer: USDT for Go <noreply@invalid>\nSuggests: golang-go, bpftrace\n\
             Description: static probes (USDT) for Go\n \
             usdt-gen makes Go packages with probes that every Linux tracer understands and seals\n \
             binaries; usdt-attach lists and traces probes of programs in any language.\n",
            arch.trim()
        );
        std::fs::write(control.join("control"), about)
            .explain("cannot write the package's description")?;
        execute(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(&folder))?;
        let file = self.folder.join(format!("usdt-go_{version}_{}.deb", arch.trim()));
        let mut deb = Command::new("dpkg-deb");
        deb.args(["--build", "--root-owner-group"]).arg(&folder).arg(&file);
        execute(deb.env("SOURCE_DATE_EPOCH", &self.time))?;
        Ok(file)
    }
}
