//! Helpers to build and run what is measured: release builds of our tools, programs of `bench/go`,
//! and other tracers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::target::Target;
pub(crate) use usdt_e2e::output;
use usdt_e2e::{Process, root, status_kib};

/// CPUs: the traced program has one, tracers and clients have the other.
pub(crate) const TARGET_CPU: &str = "1";
pub(crate) const OTHER_CPU: &str = "0";

/// Returns the path of one of our release builds, which `cargo xtask bench` makes.
pub(crate) fn our_tool(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}

/// Returns the folder for everything that a run creates.
pub(crate) fn folder() -> PathBuf {
    root().join("target/bench")
}

/// Returns a command that runs on the given CPUs, with our release builds on its path.
pub(crate) fn pinned(cpus: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpus]).arg(program);
    with_path(&mut command);
    command
}

/// Puts our release builds first on a command's `PATH`.
pub(crate) fn with_path(command: &mut Command) -> &mut Command {
    with_tools(command, &root().join("target/release"))
}

/// Puts a folder first on a command's `PATH`.
fn with_tools<'a>(command: &'a mut Command, tools: &Path) -> &'a mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", tools.display()))
}

/// Runs a command and returns the milliseconds until it exits.
pub(crate) fn time_command(command: &mut Command) -> Result<f64, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    let elapsed = begin.elapsed().as_secs_f64() * 1e3;
    if status.success() { Ok(elapsed) } else { Err(format!("{command:?}: {status}")) }
}

/// Runs a command and returns the milliseconds of CPU time of its main thread. In contrast to the time
/// until it exits, they do not depend on what else runs on the machine, except through caches.
pub(crate) fn cpu_time(command: &mut Command) -> Result<f64, String> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let mut child = start_quietly(command)?;
    let failed = |e: &dyn std::fmt::Display| format!("{command:?}: {e}");
    let pid = Pid::from_child(&child.0);
    // A process that has exited keeps its times until it is waited for.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        .map_err(|e| failed(&e))?;
    let schedstat = std::fs::read_to_string(format!("/proc/{}/schedstat", child.pid()))
        .map_err(|e| failed(&e))?;
    let status = child.0.wait().map_err(|e| failed(&e))?;
    if !status.success() {
        return Err(failed(&status));
    }
    let ns: Option<f64> = schedstat.split_whitespace().next().and_then(|ns| ns.parse().ok());
    ns.map(|ns| ns / 1e6).ok_or_else(|| failed(&"the kernel counts no CPU time"))
}

/// Builds a program of `bench/go`.
pub(crate) fn go_build(args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    go(&[&["build"], args].concat(), package, name)
}

/// Builds the benchmarks of a package of `bench/go`.
pub(crate) fn go_test(args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    go(&[&["test", "-c"], args].concat(), package, name)
}

fn go(args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    let out = folder().join(name);
    go_with(&root().join("target/release"), args, package, &out)?;
    Ok(out)
}

/// Runs the go command on a package of `bench/go`, with the tools in a folder, and writes to `out`.
pub(crate) fn go_with(
    tools: &Path,
    args: &[&str],
    package: &str,
    out: &Path,
) -> Result<(), String> {
    let modules = root().join("bench/go");
    let probes = modules.join("probes/probes.d");
    output(Command::new(tools.join("usdt-gen")).arg("--lazy-args").arg(probes))?;
    let mut go = Command::new("go");
    go.args(args).arg("-o").arg(out).arg(package).current_dir(modules);
    output(with_tools(&mut go, tools)).map(drop)
}

/// The flag of the go command that seals in the build.
pub(crate) const SEAL: &str = "-toolexec=usdt-gen toolexec";

/// Compiles a program of `tests/c`.
pub(crate) fn cc(source: &str) -> Result<PathBuf, String> {
    let out = folder().join(source.trim_end_matches(".c"));
    output(
        Command::new("cc").args(["-O2", "-o"]).arg(&out).arg(root().join("tests/c").join(source)),
    )?;
    Ok(out)
}

/// Returns the file offsets of a probe's site and of its semaphore; the latter is 0 if there is
/// none.
pub(crate) fn site(file: &Path, glob: &str) -> Result<(u64, u64), String> {
    let plan = plan(file, glob)?;
    let site = plan.sites().into_iter().next().ok_or("no site")?;
    Ok((site.offset, site.semaphore_offset.unwrap_or(0)))
}

/// Plans tracing of the probes of a file that match a glob.
pub(crate) fn plan(file: &Path, glob: &str) -> Result<Plan, String> {
    let found = Target::Executable(file.to_owned()).scan().map_err(|e| e.to_string())?.objects;
    let chosen = usdt_attach::discover::select::select(&found, &[glob.to_owned()])
        .map_err(|e| e.to_string())?;
    let options = Options::default();
    Plan::new(&chosen, &options).map(|(plan, _)| plan).map_err(|e| e.to_string())
}

/// Starts a command with all output discarded.
pub(crate) fn start_quietly(command: &mut Command) -> Result<Process, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(Process).map_err(|e| format!("{command:?}: {e}"))
}

/// Writes a file and creates missing folders.
pub(crate) fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", file.display());
    file.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    std::fs::write(file, content).map_err(failed)
}

/// Reads a size of `/proc/PID/status` in MiB.
pub(crate) fn memory(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status_kib(&status, name).map_or(f64::NAN, |kib| kib as f64 / 1024.0)
}
