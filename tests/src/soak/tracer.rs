//! `usdt-attach` processes that write to a file.

use crate::{Process, command, json_lines, text};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Signal numbers, see signal(7).
pub(super) const INT: i32 = 2;
const KILL: i32 = 9;
pub(super) const TERM: i32 = 15;

/// Time after which a tracer is considered stuck.
pub(super) const EXIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running tracer.
pub(super) struct Tracer {
    process: Process,
    folder: tempfile::TempDir,
}

/// The hit counts in the summary of a tracer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    pub(super) hits: u64,
    pub(super) dropped: u64,
}

impl Tracer {
    /// Starts a tracer and returns when it is attached, which its first output indicates.
    pub(super) fn start(args: &[&str]) -> Result<Tracer, String> {
        let mut tracer = Tracer::spawn(command("usdt-attach").args(args))?;
        let end = Instant::now() + EXIT_TIMEOUT;
        while tracer.written().is_empty() {
            if let Ok(Some(status)) = tracer.process.0.try_wait() {
                return Err(format!("{args:?} exited with {status}: {}", tracer.errors()));
            }
            if Instant::now() > end {
                return Err(format!(
                    "{args:?} printed nothing within {} s",
                    EXIT_TIMEOUT.as_secs()
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(tracer)
    }

    /// Starts a command with its output redirected to files.
    pub(super) fn spawn(command: &mut Command) -> Result<Tracer, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let create =
            |name: &str| std::fs::File::create(folder.path().join(name)).map_err(|e| e.to_string());
        command.stdin(Stdio::null()).stdout(create("out")?).stderr(create("errors")?);
        let process = Process(command.spawn().map_err(|e| e.to_string())?);
        Ok(Tracer { process, folder })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn read(&self, name: &str) -> String {
        read(&self.folder.path().join(name))
    }

    pub(super) fn written(&self) -> String {
        self.read("out")
    }

    pub(super) fn errors(&self) -> String {
        self.read("errors")
    }

    /// Sends a signal, given its number.
    pub(super) fn signal(&self, number: i32) {
        self.process.signal(number);
    }

    /// Returns true until the tracer exits.
    pub(super) fn is_running(&mut self) -> Result<bool, String> {
        self.process.0.try_wait().map(|status| status.is_none()).map_err(|e| e.to_string())
    }

    /// Kills the tracer with SIGKILL.
    pub(super) fn kill(mut self) -> Result<(), String> {
        self.signal(KILL);
        self.wait().map(drop)
    }

    /// Waits until the tracer exits.
    pub(super) fn wait(&mut self) -> Result<ExitStatus, String> {
        let end = Instant::now() + EXIT_TIMEOUT;
        loop {
            if let Some(status) = self.process.0.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            if Instant::now() > end {
                let threads = threads(self.pid());
                return Err(format!("a tracer does not exit: {}{threads}", self.errors()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops the tracer with a signal and returns its events and its summary.
    pub(super) fn stop(mut self, signal: i32) -> Result<(Vec<serde_json::Value>, Summary), String> {
        self.signal(signal);
        self.finish()
    }

    /// Waits until the tracer exits on its own and returns its events and its summary.
    pub(super) fn finish(&mut self) -> Result<(Vec<serde_json::Value>, Summary), String> {
        let status = self.wait()?;
        if !status.success() {
            return Err(format!("a tracer exited with {status}: {}", self.errors()));
        }
        split_output(&self.written())
    }
}

/// Returns in which state each thread of a process is, and where it is in the kernel.
#[must_use]
pub fn threads(pid: u32) -> String {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return String::new() };
    let tasks = tasks.flatten().map(|task| {
        let of = |name: &str| read(&task.path().join(name));
        let status = of("status");
        let shown = ["State:", "SigPnd:", "SigBlk:", "SigCgt:", "nonvoluntary_ctxt_switches:"];
        let status = status.lines().filter(|line| shown.iter().any(|name| line.starts_with(name)));
        let status = status.collect::<Vec<_>>().join("; ");
        format!("\nthread {}: {status}\n{}", task.file_name().display(), of("stack"))
    });
    tasks.collect()
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| text(&bytes)).unwrap_or_default()
}

/// Splits the output of a tracer into events and summary, whose counts must add up.
pub(super) fn split_output(written: &str) -> Result<(Vec<serde_json::Value>, Summary), String> {
    let mut events = json_lines(written);
    let summary = events.pop().unwrap_or_default()["summary"].clone();
    let number = |name: &str| {
        summary[name].as_u64().ok_or_else(|| format!("the summary has no `{name}`: {summary}"))
    };
    let (hits, delivered, dropped) = (number("hits")?, number("delivered")?, number("dropped")?);
    if hits != delivered + dropped + number("filtered")? {
        return Err(format!("hits differ from delivered + dropped + filtered: {summary}"));
    }
    Ok((events, Summary { hits, dropped }))
}
