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
mod fixture;
pub mod function_programs;
pub mod injected;
pub mod matrix;
pub mod neighbors;
pub mod oracle;
mod process;
pub mod sample_elf;
pub mod soak;
pub mod targets;
pub mod unmodified;

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use usdt_attach::backend::bcc::BccHelper;

pub use fixture::{Copy, Fixture, Mode, copy, go_of, libbpf, overlay_flag, runtime_flags};
pub use process::Process;

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
