//! What is measured: release builds of our tools, programs of `tests/bench`, other tracers.

use crate::{Process, root, text};
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use usdt_attach::plan::{Options, Plan};
use usdt_attach::target::Target;

/// Processors: what is traced has one, whoever traces the other.
pub(super) const TARGET: &str = "1";
pub(super) const OTHERS: &str = "0";

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Built by `cargo xtask bench`.
pub(super) fn ours(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}

/// The attacher with bcc, which is kept apart: the ordinary one does not load its libraries.
pub(super) fn with_bcc() -> PathBuf {
    root().join("target/bench/bcc/release/usdt-attach")
}

/// Where everything goes that a run makes.
pub(super) fn folder() -> PathBuf {
    root().join("target/bench")
}

/// On these processors, with our release builds on the path.
pub(super) fn pinned(processors: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", processors]).arg(program);
    with_path(&mut command);
    command
}

pub(super) fn with_path(command: &mut Command) -> &mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", root().join("target/release").display()))
}

/// Runs it to its end; an error where it fails.
pub(super) fn done(command: &mut Command) -> Result<Output, String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(out);
    }
    Err(format!("{command:?}: {}: {}{}", out.status, text(&out.stdout), text(&out.stderr)))
}

/// Milliseconds until it has ended.
pub(super) fn timed(command: &mut Command) -> Result<f64, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    if status.success() { Ok(took) } else { Err(format!("{command:?}: {status}")) }
}

/// Builds a package of `tests/bench`.
pub(super) fn go_build(args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    go(&["build"], args, package, name)
}

/// Builds a package's benchmarks.
pub(super) fn go_test(args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    go(&["test", "-c"], args, package, name)
}

fn go(what: &[&str], args: &[&str], package: &str, name: &str) -> Result<PathBuf, String> {
    let modules = root().join("tests/bench");
    let probes = modules.join("probes/probes.d");
    done(Command::new(ours("usdt-gen")).arg(probes))?;
    let out = folder().join(name);
    let mut go = Command::new("go");
    go.args(what).args(args).arg("-o").arg(&out).arg(package).current_dir(modules);
    done(with_path(&mut go))?;
    Ok(out)
}

/// What seals in the build.
pub(super) const SEAL: &str = "-toolexec=usdt-gen toolexec";

/// Compiles a program of `tests/c`.
pub(super) fn cc(source: &str) -> Result<PathBuf, String> {
    let out = folder().join(source.trim_end_matches(".c"));
    done(Command::new("cc").args(["-O2", "-o"]).arg(&out).arg(root().join("tests/c").join(source)))?;
    Ok(out)
}

/// Where a probe is attached to, and its semaphore: offsets in the file.
pub(super) fn site(file: &Path, glob: &str) -> Result<(u64, u64), String> {
    let plan = plan(file, glob)?;
    let site = plan.sites().into_iter().next().ok_or("no site")?;
    Ok((site.offset, site.semaphore_offset.unwrap_or(0)))
}

/// A plan of tracing.
pub(super) fn plan(file: &Path, glob: &str) -> Result<Plan, String> {
    let found = Target::Exe(file.to_owned()).resolve(false).map_err(|e| e.to_string())?.found;
    let chosen = usdt_attach::select::select(&found, &[glob.to_owned()]).map_err(|e| e.to_string())?;
    let options = Options { optimisation: usdt_attach::optimisation(), ..Options::default() };
    Plan::new(&chosen, &options).map(|(plan, _)| plan).map_err(|e| e.to_string())
}

/// Ends a tracer: by the end of its input, by an interrupt, by force. What it said on standard error.
pub(super) fn end(mut tracer: Process) -> Result<String, String> {
    drop(tracer.0.stdin.take());
    let begin = Instant::now();
    let mut next = begin;
    while tracer.0.try_wait().map_err(|e| e.to_string())?.is_none() {
        if begin.elapsed() > PATIENCE {
            return Err(format!("process {} does not end", tracer.pid()));
        }
        if Instant::now() >= next {
            tracer.signal(2);
            next = Instant::now() + Duration::from_secs(3);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut said = String::new();
    if let Some(mut errors) = tracer.0.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    Ok(said)
}

/// Starts a tracer that says nothing to anybody.
pub(super) fn quietly(command: &mut Command) -> Result<Process, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(Process).map_err(|e| format!("{command:?}: {e}"))
}
