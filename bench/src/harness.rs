//! What is measured: release builds of our tools, programs of `bench/go`, other tracers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::target::Target;
pub(crate) use usdt_e2e::output as done;
use usdt_e2e::{Process, root};

/// Processors: what is traced has one, whoever traces the other.
pub(crate) const TARGET: &str = "1";
pub(crate) const OTHERS: &str = "0";

/// Built by `cargo xtask bench`.
pub(crate) fn ours(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}

/// Where everything goes that a run makes.
pub(crate) fn folder() -> PathBuf {
    root().join("target/bench")
}

/// On these processors, with our release builds on the path.
pub(crate) fn pinned(processors: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", processors]).arg(program);
    with_path(&mut command);
    command
}

pub(crate) fn with_path(command: &mut Command) -> &mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", root().join("target/release").display()))
}

/// Milliseconds until it has ended.
pub(crate) fn timed(command: &mut Command) -> Result<f64, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    if status.success() { Ok(took) } else { Err(format!("{command:?}: {status}")) }
}

/// Builds a package of `bench/go`.
pub(crate) fn go_build(args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    go(&["build"], args, package, name)
}

/// Builds a package's benchmarks.
pub(crate) fn go_test(args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    go(&["test", "-c"], args, package, name)
}

fn go(what: &[&str], args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    let modules = root().join("bench/go");
    let probes = modules.join("probes/probes.d");
    done(Command::new(ours("usdt-gen")).arg("--lazy-args").arg(probes))?;
    let out = folder().join(name);
    let mut go = Command::new("go");
    go.args(what).args(args).arg("-o").arg(&out).arg(package).current_dir(modules);
    done(with_path(&mut go))?;
    Ok(out)
}

/// What seals in the build.
pub(crate) const SEAL: &str = "-toolexec=usdt-gen toolexec";

/// Compiles a program of `tests/c`.
pub(crate) fn cc(source: &str) -> Result<PathBuf, String> {
    let out = folder().join(source.trim_end_matches(".c"));
    done(
        Command::new("cc").args(["-O2", "-o"]).arg(&out).arg(root().join("tests/c").join(source)),
    )?;
    Ok(out)
}

/// Where a probe is attached to, and its semaphore: offsets in the file.
pub(crate) fn site(file: &Path, glob: &str) -> Result<(u64, u64), String> {
    let plan = plan(file, glob)?;
    let site = plan.sites().into_iter().next().ok_or("no site")?;
    Ok((site.offset, site.semaphore_offset.unwrap_or(0)))
}

/// A plan of tracing.
pub(crate) fn plan(file: &Path, glob: &str) -> Result<Plan, String> {
    let found = Target::Executable(file.to_owned()).scan().map_err(|e| e.to_string())?.objects;
    let chosen = usdt_attach::discover::select::select(&found, &[glob.to_owned()])
        .map_err(|e| e.to_string())?;
    let options = Options::default();
    Plan::new(&chosen, &options).map(|(plan, _)| plan).map_err(|e| e.to_string())
}

/// Starts a tracer that says nothing to anybody.
pub(crate) fn quietly(command: &mut Command) -> Result<Process, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(Process).map_err(|e| format!("{command:?}: {e}"))
}

/// Writes a file, and makes the folders above it.
pub(crate) fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", file.display());
    file.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    std::fs::write(file, content).map_err(failed)
}

/// A size that `/proc/PID/status` says, in MiB.
pub(crate) fn memory(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
