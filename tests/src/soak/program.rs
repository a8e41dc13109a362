//! The program that is traced.

use crate::{Process, command, lines, listed, root, text};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Builds it, sealed.
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

/// A running one.
pub(super) struct Program {
    process: Process,
    semaphore: u64,
}

impl Program {
    /// It stays that long after its last hit.
    pub(super) fn start(file: &Path, linger: &str) -> Result<Program, String> {
        let semaphore = listed(file).iter().find_map(|p| p.get("semaphore")?.as_u64());
        let mut new = command(file);
        new.args(["-linger", linger]);
        let child =
            new.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        Ok(Program {
            process: Process(child),
            semaphore: semaphore.ok_or("the program has no semaphore")?,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The semaphore's value, when it is down or does not come down any more.
    pub(super) fn semaphore(&self) -> u16 {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let value = crate::semaphore(self.pid(), self.semaphore);
            // A tracer that was killed may take a moment to be gone.
            if value == 0 || Instant::now() > end {
                return value;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Has it fire no more and returns how often it has, if what it computed is right.
    pub(super) fn stop(&mut self) -> Result<u64, String> {
        drop(self.process.0.stdin.take());
        let mut said = String::new();
        if let Some(out) = self.process.0.stdout.take() {
            BufReader::new(out).read_line(&mut said).map_err(|e| e.to_string())?;
        }
        let account = lines(&said).pop().ok_or("the program ended without its account")?;
        let numbers = |name: &str| -> Vec<u64> {
            let list =
                account.get(name).and_then(|list| list.as_array()).cloned().unwrap_or_default();
            list.iter().filter_map(serde_json::Value::as_u64).collect()
        };
        let (fired, results) = (numbers("fired"), numbers("results"));
        for (id, (fired, result)) in (0..).zip(fired.iter().zip(&results)) {
            let expected = (0..*fired).fold(id, computed);
            if *result != expected {
                return Err(format!("goroutine {id} computed {result} instead of {expected}"));
            }
        }
        Ok(fired.iter().sum())
    }

    /// The same, and it must end well.
    pub(super) fn end(mut self) -> Result<u64, String> {
        let fired = self.stop()?;
        let status = self.process.0.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(fired) } else { Err(format!("the program ended with {status}")) }
    }
}

/// A step of what each goroutine computes.
fn computed(result: u64, n: u64) -> u64 {
    let length = format!("soak {n}").len() as u64;
    (result ^ length).wrapping_mul(0x100_0000_01b3).wrapping_add((n as f64 * 0.5) as u64)
}
