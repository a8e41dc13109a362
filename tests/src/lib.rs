//! Helpers shared by the end-to-end tests and benchmarks: the tools under test, Go builds, and
//! processes that are killed when their test ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing helper fails its test

/// Compiles the examples of `docs/library.md` as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
pub struct LibraryPage;

pub mod code;
pub mod compile_time_tools;
pub mod containment;
pub mod debian;
pub mod function_programs;
pub mod injected;
pub mod matrix;
pub mod neighbors;
pub mod oracle;
pub mod sample_elf;
pub mod soak;
pub mod targets;
pub mod unmodified;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use usdt_attach::backend::bcc::BccHelper;

/// A requirement of a test: a privilege, a program or a file.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Effective user id 0 and a kernel that lets it load BPF programs.
    Bpf,
    /// A program on `PATH`.
    Program(&'static str),
    /// A working `usdt-attach-bcc`: the program, libbcc and kernel headers.
    Bcc,
    /// A file of an installed package or of the kernel.
    File(&'static str),
}

/// Returns true if the machine meets all requirements.
///
/// Otherwise it prints what is missing, and the caller skips its test. With `USDT_E2E=require` it
/// panics instead.
pub fn have(needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|n| n.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert_ne!(
        std::env::var("USDT_E2E").as_deref(),
        Ok("require"),
        "USDT_E2E=require forbids skipping, but this machine lacks: {missing}"
    );
    eprintln!("skipped: this machine lacks {missing}");
    false
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Need::Bpf => {
                static ATTACHES: OnceLock<bool> = OnceLock::new();
                let attaches = *ATTACHES.get_or_init(can_attach);
                (!attaches).then(|| "privileges to load BPF programs (root)".to_owned())
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

/// Returns true if this process may load BPF programs and attach them.
fn can_attach() -> bool {
    let hits = Fixture::get("hits", Mode::Plain);
    attach(&["trace", "--duration", "1ms", "--exe", hits.to_str().unwrap()]).status.success()
}

/// Returns the root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the folder of the debug builds of our tools, and panics if they are not built.
pub fn tools() -> PathBuf {
    let folder = root().join("target/debug");
    for tool in ["usdt-gen", "usdt-attach"] {
        assert!(folder.join(tool).exists(), "{tool} is not built; run `cargo xtask e2e`");
    }
    folder
}

/// Returns a command with our tools first on its `PATH`.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", tools().display())).env("NO_COLOR", "1");
    command
}

/// Returns a [`command`] that a shell executes after `limits`: `ulimit` commands, joined by `&&`.
/// The program is the fourth argument of the shell.
pub fn limited(limits: &str, program: impl AsRef<OsStr>) -> Command {
    let mut shell = command("sh");
    shell.args(["-c", &format!(r#"{limits} && exec "$@""#), "sh"]).arg(program);
    shell
}

/// Runs `usdt-attach` and waits for it to exit.
pub fn attach(args: &[&str]) -> Output {
    command(tools().join("usdt-attach")).args(args).output().unwrap()
}

/// Runs `usdt-gen` and waits for it to exit.
pub fn usdt_gen(args: &[&str]) -> Output {
    command(tools().join("usdt-gen")).args(args).output().unwrap()
}

/// Converts output to a string; invalid UTF-8 is replaced.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed and returns its standard output.
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

/// Runs a command and returns its standard output, or an error with the last line that it wrote to
/// standard error.
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

/// Returns the back ends that the machine has, as `--backend` names them.
pub fn backends() -> Vec<&'static str> {
    if have(&[Need::Bcc]) { vec!["embedded", "bcc"] } else { vec!["embedded"] }
}

/// Returns the address at which a process maps the beginning of a file, given by the end of its path;
/// `None` if it does not map it.
///
/// # Panics
///
/// Panics if the process has ended.
pub fn mapping_start(pid: impl std::fmt::Display, path_end: &str) -> Option<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let line = maps.lines().find(|line| line.ends_with(path_end))?;
    u64::from_str_radix(line.split_once('-')?.0, 16).ok()
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

/// A child process that is killed when its test ends, even if the test panics.
pub struct Process(pub Child);

impl Process {
    /// Starts a command with piped standard output and standard error.
    pub fn start(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until the process executes `program`: between fork and exec it is still a copy of this
    /// process.
    pub fn wait_for_exec(&self, program: &Path) {
        let exe = format!("/proc/{}/exe", self.pid());
        wait_for("the process to execute its program", || {
            std::fs::read_link(&exe).is_ok_and(|exe| exe == program)
        });
    }

    /// Returns the number of BPF links and perf events that the process holds. Creating them is the
    /// last step of attaching.
    pub fn link_count(&self) -> usize {
        self.descriptors(&["bpf_link", "bpf-link", "[perf_event]"])
    }

    /// Returns the number of BPF links only: a perf event increments the semaphore before a program
    /// is attached to it.
    pub fn bpf_link_count(&self) -> usize {
        self.descriptors(&["bpf_link", "bpf-link"])
    }

    /// Waits until the process, a tracer with several sessions, is attached to probes and has made no
    /// further link for a while.
    pub fn wait_for_all_links(&self) {
        let mut last = 0;
        wait_for("the tracer to attach", || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let links = self.bpf_link_count();
            links > 2 && std::mem::replace(&mut last, links) == links
        });
    }

    /// Returns true if the process, a tracer, is attached to probes and follows its target: it has a
    /// link of uprobes in a file that is not a dynamic linker, and one that reports `exec`. Links that
    /// report libraries and children are not among them.
    pub fn is_attached(&self) -> bool {
        let folder = format!("/proc/{}", self.pid());
        let entries = std::fs::read_dir(format!("{folder}/fd")).into_iter().flatten().flatten();
        let (mut has_probes, mut reports_exec) = (false, false);
        for entry in entries {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let is_link = |name: &&str| target.to_string_lossy().contains(*name);
            if target.to_string_lossy().contains("[perf_event]") {
                has_probes = true;
            } else if ["bpf_link", "bpf-link"].iter().any(is_link) {
                let info = format!("{folder}/fdinfo/{}", entry.file_name().display());
                let info = std::fs::read_to_string(info).unwrap_or_default();
                // Links to the linker and, for the cost of a hit, to the tracer itself are others.
                let others = ["/ld-linux", "/ld-musl", "/usdt-attach\n"];
                let is_other = others.iter().any(|end| info.contains(end));
                has_probes |= info.contains("uprobe_multi") && !is_other;
                // Kernels before 5.10 name no tracepoint. Other links may be there before.
                let reports = info.contains("tracepoint") || !info.contains("link_type");
                reports_exec |=
                    reports && (info.contains("sched_process_exec") || !info.contains("tp_name"));
            }
        }
        has_probes && reports_exec
    }

    fn descriptors(&self, names: &[&str]) -> usize {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).into_iter().flatten();
        let targets = entries.filter_map(|e| std::fs::read_link(e.ok()?.path()).ok());
        targets
            .filter(|target| names.iter().any(|name| target.to_string_lossy().contains(name)))
            .count()
    }

    /// Waits until the process exits, and returns its status, standard output and standard error.
    ///
    /// No test takes two minutes: a process that is still running then is stuck and fails the test.
    pub fn finish(self) -> (ExitStatus, String, String) {
        self.finish_while(|_| {})
    }

    /// Like [`Process::finish`], and calls `poke` every few milliseconds.
    pub fn finish_while(
        mut self,
        mut poke: impl FnMut(&mut Process),
    ) -> (ExitStatus, String, String) {
        // Both pipes are drained while waiting: a process that blocks on a full pipe does not exit.
        let out = read_in_background(self.0.stdout.take());
        let errors = read_in_background(self.0.stderr.take());
        let end = Instant::now() + Duration::from_secs(120);
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            poke(&mut self);
            assert!(Instant::now() < end, "process {} does not exit", self.pid());
            std::thread::sleep(Duration::from_millis(2));
        };
        (status, out.join().unwrap(), errors.join().unwrap())
    }

    /// Sends SIGINT until the process exits. A signal that arrives during startup may be lost, so
    /// it is repeated.
    pub fn interrupt(self) -> (ExitStatus, String, String) {
        let mut next = Instant::now();
        self.finish_while(|process| {
            if Instant::now() >= next {
                process.signal(2);
                next = Instant::now() + Duration::from_secs(5);
            }
        })
    }

    /// Sends a signal, given its number.
    pub fn signal(&self, number: i32) {
        let status = Command::new("kill")
            .args([format!("-{number}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

/// Reads a pipe to its end on another thread.
fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
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

/// Waits up to 30 seconds for a condition and panics if it stays false.
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_up_to(Duration::from_secs(30), what, condition);
}

/// Waits for a condition and panics if it stays false.
pub fn wait_up_to(longest: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + longest;
    while !condition() {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns a size in KiB from the content of `/proc/PID/status`, such as `VmHWM`; `None` if the
/// field is missing, as it is for a zombie.
pub fn status_kib(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

/// Writes a file below `folder`, creates missing folders, and returns the full path.
pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    path.parent().map_or(Ok(()), std::fs::create_dir_all).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Replaces the part of a page between two markers, which stay; `None` if `begin` or an `end` after
/// it is missing.
pub fn replace_between(page: &str, begin: &str, end: &str, new: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{new}{end}{after}"))
}

/// Returns a TCP port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Returns the probes of a file as printed by `usdt-attach list --json`.
pub fn list_probes(path: &Path) -> Vec<serde_json::Value> {
    let out = attach(&["list", "--json", path.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    json_lines(&text(&out.stdout))
}

/// Returns the address of the semaphore of `probe`, given as `PROVIDER:PROBE`.
pub fn semaphore_of(path: &Path, probe: &str) -> u64 {
    let listed = list_probes(path);
    let (provider, name) = probe.split_once(':').unwrap();
    let found = listed.iter().find(|p| p["provider"] == provider && p["probe"] == name);
    found.and_then(|p| p["semaphore"].as_u64()).unwrap_or_else(|| panic!("{probe} in {listed:?}"))
}

/// Parses JSON lines.
pub fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

/// Splits the output of `usdt-attach --json` into its events and its summary.
pub fn events_and_summary(text: &str) -> (Vec<serde_json::Value>, serde_json::Value) {
    let mut all = json_lines(text);
    let last = all.pop().unwrap_or_default();
    assert!(last["summary"].is_object(), "the last line is {last}");
    (all, last["summary"].clone())
}

/// Reads a semaphore of a running process that is not position-independent.
///
/// Returns `u16::MAX` if it cannot be read because the program is not mapped yet, or no longer.
pub fn semaphore(pid: u32, address: u64) -> u16 {
    use std::os::unix::fs::FileExt;
    let mut raw = [0xff; 2];
    if let Ok(memory) = std::fs::File::open(format!("/proc/{pid}/mem")) {
        let _ = memory.read_exact_at(&mut raw, address);
    }
    u16::from_le_bytes(raw)
}
