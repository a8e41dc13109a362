//! The programs of `tests/go` and `tests/c`: how they are built, and copies of them.

use crate::{command, root, stdout, tools};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A way of building a Go fixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Plain `go build`, not sealed.
    Plain,
    /// Sealed in the build by `-toolexec`.
    Sealed,
    /// Not sealed, `-ldflags='-s -w'`.
    PlainStripped,
    /// Sealed, `-ldflags='-s -w'`.
    Stripped,
    /// Sealed, `-buildmode=pie`.
    Pie,
    /// Sealed, external linking.
    External,
    /// Sealed, `-buildmode=pie` and external linking.
    ExternalPie,
    /// Sealed, `-race`.
    Race,
    /// Not sealed, `-buildmode=pie`.
    PlainPie,
    /// Sealed, with a GNU build id. perf requires one, and Go before 1.24 writes none by default.
    BuildId,
    /// Sealed, with injected probes of the runtime and the standard library.
    Runtime,
    /// Like `Runtime`, with the race detector.
    RuntimeRace,
}

impl Mode {
    /// All sealed modes without probes of the runtime.
    pub const SEALED: [Mode; 6] =
        [Mode::Sealed, Mode::Stripped, Mode::Pie, Mode::External, Mode::ExternalPie, Mode::Race];

    fn flags(self) -> Vec<&'static str> {
        let seal = "-toolexec=usdt-gen toolexec";
        match self {
            Mode::Plain => vec![],
            Mode::PlainStripped => vec!["-ldflags=-s -w"],
            Mode::PlainPie => vec!["-buildmode=pie"],
            Mode::Sealed => vec![seal],
            Mode::Stripped => vec![seal, "-ldflags=-s -w"],
            Mode::Pie => vec![seal, "-buildmode=pie"],
            Mode::External => vec![seal, "-ldflags=-linkmode=external"],
            Mode::ExternalPie => vec![seal, "-buildmode=pie", "-ldflags=-linkmode=external"],
            Mode::BuildId => vec![seal, "-ldflags=-B 0x0123456789abcdef0123456789abcdef01234567"],
            Mode::Race => vec![seal, "-race"],
            Mode::Runtime => vec![],
            Mode::RuntimeRace => vec!["-race"],
        }
    }
}

/// Returns the go command of a release, without the user's settings: old releases reject newer flags.
pub fn go_of(release: &str) -> Command {
    let mut go = command("go");
    go.envs([("GOTOOLCHAIN", format!("go{release}").as_str()), ("GOENV", "off"), ("GOFLAGS", "")]);
    go
}

/// Environment variable: the folder of fixtures that were built on another machine, for machines
/// without Go.
const PREBUILT: &str = "USDT_E2E_PREBUILT";

/// The programs of `tests/go`. Each is built once per run and mode.
pub struct Fixture;

impl Fixture {
    /// Returns the path of a program that was built on another machine; `None` if this machine has
    /// Go.
    ///
    /// # Panics
    ///
    /// Panics if the program is missing.
    pub fn prebuilt(name: &str) -> Option<PathBuf> {
        let out = PathBuf::from(std::env::var_os(PREBUILT)?).join(name);
        assert!(out.exists(), "{} is missing; build it with the `fixtures` program", out.display());
        Some(out)
    }

    /// Returns the path to build a program at, for `GOARCH` if it is set.
    pub fn place(name: &str) -> PathBuf {
        let folder = root().join("target/e2e").join(std::env::var_os("GOARCH").unwrap_or_default());
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    /// Returns the built program, and builds it first if necessary.
    ///
    /// Tests that attach use a [`copy`], so that they do not trace each other's processes.
    pub fn get(package: &'static str, mode: Mode) -> PathBuf {
        static BUILT: Mutex<Option<HashMap<(&'static str, Mode), PathBuf>>> = Mutex::new(None);
        let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let built = built.get_or_insert_with(HashMap::new);
        built.entry((package, mode)).or_insert_with(|| Self::build(package, mode)).clone()
    }

    fn build(package: &str, mode: Mode) -> PathBuf {
        let name = format!("{package}-{mode:?}").to_lowercase();
        if let Some(out) = Self::prebuilt(&name) {
            return out;
        }
        let out = Self::place(&name);
        let mut go = command("go");
        go.arg("build").args(mode.flags()).arg("-o").arg(&out).arg(format!("./{package}"));
        if matches!(mode, Mode::Runtime | Mode::RuntimeRace) {
            go.env("GOFLAGS", runtime_flags(&command("go")));
        }
        stdout(go.current_dir(root().join("tests/go")));
        out
    }
}

/// Returns the value of GOFLAGS with which a go command adds the probes of the runtime and the standard
/// library.
pub fn runtime_flags(go: &Command) -> String {
    let mut inject = Command::new(tools().join("usdt-gen"));
    inject.args(["inject", "--runtime", "--go"]).arg(go.get_program());
    // The go command is one of a release by its environment.
    inject.envs(go.get_envs().filter_map(|(name, value)| Some((name, value?))));
    stdout(&mut inject).trim().to_owned()
}

/// Writes the overlay and returns the flag that makes the go command build with it.
pub fn overlay_flag() -> String {
    let folder = root().join("target/e2e/overlay");
    let list = stdout(command(tools().join("usdt-gen")).args(["overlay", "-o"]).arg(folder));
    format!("-overlay={}", list.trim())
}

/// Builds the libbpf fixture and returns the BPF object and its loader.
pub fn libbpf(folder: &Path) -> (PathBuf, PathBuf) {
    let (object, loader) = (folder.join("usdt.bpf.o"), folder.join("usdt"));
    let arch = if cfg!(target_arch = "aarch64") { ("arm64", "aarch64") } else { ("x86", "x86_64") };
    stdout(
        command("clang")
            .args(["-O2", "-g", "-target", "bpf", "-c", "usdt.bpf.c", "-o"])
            .arg(&object)
            .arg(format!("-D__TARGET_ARCH_{}", arch.0))
            .arg(format!("-I/usr/include/{}-linux-gnu", arch.1))
            .current_dir(root().join("tests/c")),
    );
    let mut cc = command("cc");
    stdout(cc.arg("-o").arg(&loader).args(["usdt.c", "-lbpf"]).current_dir(root().join("tests/c")));
    (object, loader)
}

/// A copy of a program with its own inode, in a folder that is removed with the test.
pub struct Copy {
    /// Path of the copy.
    pub path: PathBuf,
    /// The temporary folder that holds it.
    pub folder: tempfile::TempDir,
}

/// Copies a program, so that a test can attach to it alone.
pub fn copy(program: &Path) -> Copy {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(program.file_name().unwrap());
    // `cp` runs in its own process. A descriptor that this process holds open for writing could be
    // inherited by a child of another test, and executing the copy would fail with ETXTBSY.
    stdout(Command::new("cp").arg(program).arg(&path));
    Copy { path, folder }
}

impl Copy {
    /// Returns the path as a string.
    pub fn as_str(&self) -> &str {
        self.path.to_str().unwrap()
    }
}
