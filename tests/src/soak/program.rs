//! The traced program.

use crate::{Process, command, json_lines, list_probes, root, text};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Builds the program, sealed.
pub(super) fn build(folder: &Path) -> Result<PathBuf, String> {
    let file = folder.join("soak");
    let mut go = command("go");
    go.args(["build", "-toolexec=usdt-gen toolexec", "-o"]).arg(&file).arg("./soak");
    let out = go
        .current_dir(root().join("tests/go"))
        .output()
        .map_err(|e| format!("cannot run go: {e}"))?;
    if out.status.success() { Ok(file) } else { Err(text(&out.stderr)) }
}

/// The name of the service that the traced program is, by which its hits differ from those of other
/// programs with the same probe.
pub(super) fn service() -> String {
    format!("soak-{}", std::process::id())
}

/// A running instance of the traced program.
pub(super) struct Program {
    process: Process,
    semaphore: u64,
}

impl Program {
    /// Starts the program, which keeps running for `linger` after its last hit.
    pub(super) fn start(file: &Path, linger: &str) -> Result<Program, String> {
        Program::start_with(file, &["-linger", linger])
    }

    /// Starts the program with these arguments.
    pub(super) fn start_with(file: &Path, args: &[&str]) -> Result<Program, String> {
        let semaphore = list_probes(file).iter().find_map(|p| p.get("semaphore")?.as_u64());
        let mut new = command(file);
        new.args(args).env("OTEL_SERVICE_NAME", service());
        let child =
            new.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        Ok(Program {
            process: Process(child),
            semaphore: semaphore.ok_or("the probe of the traced program has no semaphore")?,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns true if a tracer is attached to the probe.
    pub(super) fn is_enabled(&self) -> bool {
        crate::semaphore(self.pid(), self.semaphore) > 0
    }

    /// Returns the value of the semaphore: 0 as soon as it is 0, otherwise its value after five
    /// seconds.
    pub(super) fn semaphore(&self) -> u16 {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let value = crate::semaphore(self.pid(), self.semaphore);
            // The kernel may need a moment to clean up after a killed tracer.
            if value == 0 || Instant::now() > end {
                return value;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops firing, checks what the program computed, and returns how often it fired.
    pub(super) fn stop(&mut self) -> Result<u64, String> {
        drop(self.process.0.stdin.take());
        let mut line = String::new();
        if let Some(out) = self.process.0.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
        }
        let report =
            json_lines(&line).pop().ok_or("the traced program exited without its report")?;
        let numbers = |name: &str| -> Vec<u64> {
            let list =
                report.get(name).and_then(|list| list.as_array()).cloned().unwrap_or_default();
            list.iter().filter_map(serde_json::Value::as_u64).collect()
        };
        let (fired, results) = (numbers("fired"), numbers("results"));
        for (id, (fired, result)) in (0..).zip(fired.iter().zip(&results)) {
            let expected = (0..*fired).fold(id, next_result);
            if *result != expected {
                return Err(format!("goroutine {id} computed {result} instead of {expected}"));
            }
        }
        Ok(fired.iter().sum())
    }

    /// Stops firing and waits for the program, which must exit successfully.
    pub(super) fn finish(mut self) -> Result<u64, String> {
        let fired = self.stop()?;
        let status = self.process.0.wait().map_err(|e| e.to_string())?;
        if status.success() {
            Ok(fired)
        } else {
            Err(format!("the traced program exited with {status}"))
        }
    }
}

/// Computes one step of what each goroutine computes.
fn next_result(result: u64, n: u64) -> u64 {
    let length = format!("soak {n}").len() as u64;
    (result ^ length).wrapping_mul(0x100_0000_01b3).wrapping_add((n as f64 * 0.5) as u64)
}
