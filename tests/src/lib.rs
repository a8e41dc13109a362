//! What the end-to-end tests share: the tools under test, Go builds, processes that end with their test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test helper that fails, fails the test

/// What the library's page shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
pub struct Library;

pub mod matrix;
pub mod soak;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use usdt_attach::backend::bcc::BccHelper;

/// Something a test cannot do without.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Effective user id 0 and a kernel that lets it load BPF programs.
    Bpf,
    /// A program on the path.
    Program(&'static str),
    /// The program `usdt-attach-bcc`, with kernel headers.
    Bcc,
    /// A file of an installed package or of the kernel.
    File(&'static str),
}

/// Whether the machine has all of it. If not, says what is skipped; with `USDT_E2E=require`, fails instead.
pub fn have(needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|n| n.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert_ne!(
        std::env::var("USDT_E2E").as_deref(),
        Ok("require"),
        "cannot be skipped, but missing: {missing}"
    );
    eprintln!("skipped: missing {missing}");
    false
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Need::Bpf => {
                static WORKS: OnceLock<bool> = OnceLock::new();
                let works = *WORKS.get_or_init(traces);
                (!works).then(|| "privileges to load BPF programs (root)".to_owned())
            }
            Need::Program(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
                (!found).then(|| name.to_owned())
            }
            Need::File(path) => (!Path::new(path).exists()).then(|| path.to_owned()),
            Need::Bcc => {
                let helper = BccHelper::at(tools().join("usdt-attach-bcc"));
                helper.check().err().map(|error| format!("libbcc with kernel headers ({error})"))
            }
        }
    }
}

/// Whether attaching to something works.
fn traces() -> bool {
    let hits = Fixture::get("hits", Mode::Plain);
    attach(&["trace", "--duration", "1ms", "--exe", hits.to_str().unwrap()]).status.success()
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Folder of the built tools.
pub fn tools() -> PathBuf {
    let folder = root().join("target/debug");
    for tool in ["usdt-gen", "usdt-attach"] {
        assert!(folder.join(tool).exists(), "{tool} is not built; run `cargo xtask e2e`");
    }
    folder
}

/// A command with our tools on its path.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", tools().display())).env("NO_COLOR", "1");
    command
}

/// Runs `usdt-attach` to its end.
pub fn attach(args: &[&str]) -> Output {
    command(tools().join("usdt-attach")).args(args).output().unwrap()
}

/// Runs `usdt-gen` to its end.
pub fn usdt_gen(args: &[&str]) -> Output {
    command(tools().join("usdt-gen")).args(args).output().unwrap()
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a command that must succeed.
pub fn stdout(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        out.status.success(),
        "{command:?}: {}\n{}{}",
        out.status,
        text(&out.stdout),
        text(&out.stderr)
    );
    text(&out.stdout)
}

/// Runs a command to its end and returns what it printed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let out = command.output().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let (text, errors) = (text(&out.stdout), text(&out.stderr));
    if out.status.success() {
        return Ok(text);
    }
    let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    Err(format!("{}: {}: {last}", program.display(), out.status))
}

/// How a Go program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `go build`, unsealed.
    Plain,
    /// Sealed by toolexec; so are those below.
    Sealed,
    /// Unsealed, `-ldflags='-s -w'`.
    PlainStripped,
    /// `-ldflags='-s -w'`.
    Stripped,
    /// `-buildmode=pie`.
    Pie,
    /// External linking.
    External,
    /// Both.
    ExternalPie,
    /// `-race`.
    Race,
    /// `-buildmode=pie`, unsealed.
    PlainPie,
    /// Sealed, with a GNU build id, which perf asks for and Go before 1.24 does not give by itself.
    BuildId,
    /// Sealed, with the probes of the runtime and the standard library.
    Overlay,
    /// The same, with the race detector.
    OverlayRace,
}

impl Mode {
    /// Every sealed one.
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
            Mode::Overlay => vec![seal],
            Mode::OverlayRace => vec![seal, "-race"],
        }
    }
}

/// Where a machine that has no Go finds the programs that another one has built for it.
const PREBUILT: &str = "USDT_E2E_PREBUILT";

/// Programs of `tests/go`, each built once a run and mode.
pub struct Fixture;

impl Fixture {
    /// The built program. Tests that attach take a [`copy`], so that they do not see each other's processes.
    pub fn get(package: &'static str, mode: Mode) -> PathBuf {
        static BUILT: Mutex<Option<HashMap<(&'static str, Mode), PathBuf>>> = Mutex::new(None);
        let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let built = built.get_or_insert_with(HashMap::new);
        built.entry((package, mode)).or_insert_with(|| Self::build(package, mode)).clone()
    }

    fn build(package: &str, mode: Mode) -> PathBuf {
        let name = format!("{package}-{mode:?}").to_lowercase();
        if let Some(folder) = std::env::var_os(PREBUILT) {
            let out = PathBuf::from(folder).join(name);
            assert!(out.exists(), "{} was not built", out.display());
            return out;
        }
        let folder = root().join("target/e2e").join(std::env::var_os("GOARCH").unwrap_or_default());
        std::fs::create_dir_all(&folder).unwrap();
        let out = folder.join(name);
        stdout(
            command("go")
                .arg("build")
                .args(mode.flags())
                .args(matches!(mode, Mode::Overlay | Mode::OverlayRace).then(overlay))
                .arg("-o")
                .arg(&out)
                .arg(format!("./{package}"))
                .current_dir(root().join("tests/go")),
        );
        out
    }
}

/// The flag that has the go command build with the overlay, which is written on the way.
fn overlay() -> String {
    let folder = root().join("target/e2e/overlay");
    let list = stdout(command(tools().join("usdt-gen")).args(["overlay", "-o"]).arg(folder));
    format!("-overlay={}", list.trim())
}

/// The libbpf fixture: the BPF object and its loader.
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

/// A file of its own inode in a folder that goes away with the test.
pub struct Copy {
    /// The copied program.
    pub path: PathBuf,
    /// Its folder.
    pub folder: tempfile::TempDir,
}

/// Copies a program.
pub fn copy(program: &Path) -> Copy {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(program.file_name().unwrap());
    // By a process of its own: a descriptor open for writing here could be inherited by what another test starts
    // just then, and the program would be busy.
    stdout(Command::new("cp").arg(program).arg(&path));
    Copy { path, folder }
}

impl Copy {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// A process that is killed when its test ends, however it ends.
pub struct Process(pub Child);

impl Process {
    /// Starts it with piped output and error.
    pub fn start(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it runs a program: between fork and exec it is still the one that started it.
    pub fn wait_until_it_runs(&self, program: &Path) {
        let exe = format!("/proc/{}/exe", self.pid());
        wait_for("the process to run its program", || {
            std::fs::read_link(&exe).is_ok_and(|exe| exe == program)
        });
    }

    /// How many BPF links and perf events it holds, which is what attaching ends with.
    pub fn links(&self) -> usize {
        self.descriptors(&["bpf_link", "bpf-link", "[perf_event]"])
    }

    /// How many BPF links: a perf event counts its semaphore up before its program has one.
    pub fn bpf_links(&self) -> usize {
        self.descriptors(&["bpf_link", "bpf-link"])
    }

    fn descriptors(&self, names: &[&str]) -> usize {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).into_iter().flatten();
        let targets = entries.filter_map(|e| std::fs::read_link(e.ok()?.path()).ok());
        targets
            .filter(|target| names.iter().any(|name| target.to_string_lossy().contains(name)))
            .count()
    }

    /// Waits until it has ended by itself and returns what it wrote. Two minutes are more than any test takes: a
    /// process that is still there then is stuck, and fails the test.
    pub fn finish(self) -> (ExitStatus, String, String) {
        self.finish_while(|_| {})
    }

    /// Likewise; meanwhile it does this every few milliseconds.
    pub fn finish_while(
        mut self,
        mut poke: impl FnMut(&mut Process),
    ) -> (ExitStatus, String, String) {
        // Read meanwhile: a process that cannot write does not end.
        let out = collect(self.0.stdout.take());
        let errors = collect(self.0.stderr.take());
        let end = Instant::now() + Duration::from_secs(120);
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            poke(&mut self);
            assert!(Instant::now() < end, "process {} does not end", self.pid());
            std::thread::sleep(Duration::from_millis(2));
        };
        (status, out.join().unwrap(), errors.join().unwrap())
    }

    /// Interrupts it until it has ended: a signal that comes while a program starts up may be lost on it.
    pub fn interrupt(self) -> (ExitStatus, String, String) {
        let mut next = Instant::now();
        self.finish_while(|process| {
            if Instant::now() >= next {
                process.signal(2);
                next = Instant::now() + Duration::from_secs(5);
            }
        })
    }

    /// Sends a signal by its number.
    pub fn signal(&self, number: i32) {
        let status = Command::new("kill")
            .args([format!("-{number}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

/// Everything a pipe says, read on a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).unwrap();
        }
        text(&bytes)
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a condition; fails the test when it does not come.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Writes a file of a folder, and makes the folders that its name has. Returns its whole name.
pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    path.parent().map_or(Ok(()), std::fs::create_dir_all).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A port that was free just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A probe of a file as `usdt-attach list --json` tells.
pub fn listed(path: &Path) -> Vec<serde_json::Value> {
    let out = attach(&["list", "--json", path.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    lines(&text(&out.stdout))
}

/// Where the semaphore of a file's probe is, `PROVIDER:PROBE`.
pub fn semaphore_of(path: &Path, probe: &str) -> u64 {
    let listed = listed(path);
    let (provider, name) = probe.split_once(':').unwrap();
    let found = listed.iter().find(|p| p["provider"] == provider && p["probe"] == name);
    found.and_then(|p| p["semaphore"].as_u64()).unwrap_or_else(|| panic!("{probe} in {listed:?}"))
}

/// JSON lines.
pub fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

/// Events and the summary of a JSON stream.
pub fn stream(text: &str) -> (Vec<serde_json::Value>, serde_json::Value) {
    let mut all = lines(text);
    let last = all.pop().unwrap_or_default();
    assert!(last["summary"].is_object(), "the last line is {last}");
    (all, last["summary"].clone())
}

/// The semaphore of a probe in a running process that is not position-independent; `u16::MAX` where it cannot be
/// read, because the program is not mapped yet or not any more.
pub fn semaphore(pid: u32, address: u64) -> u16 {
    use std::os::unix::fs::FileExt;
    let mut raw = [0xff; 2];
    if let Ok(memory) = std::fs::File::open(format!("/proc/{pid}/mem")) {
        let _ = memory.read_exact_at(&mut raw, address);
    }
    u16::from_le_bytes(raw)
}
