//! `usdt-attach`, writing to a file.

use crate::{Process, command, lines, text};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Signals by number (signal(7)).
pub(super) const INT: i32 = 2;
const KILL: i32 = 9;
pub(super) const TERM: i32 = 15;

/// More than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A running tracer.
pub(super) struct Tracer {
    process: Process,
    folder: tempfile::TempDir,
}

/// What it says at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    pub(super) hits: u64,
    pub(super) dropped: u64,
}

impl Tracer {
    /// Returns when it has written something, which it does when it is attached.
    pub(super) fn start(args: &[&str]) -> Result<Tracer, String> {
        let mut tracer = Tracer::spawn(command("usdt-attach").args(args))?;
        let end = Instant::now() + PATIENCE;
        while tracer.written().is_empty() {
            if let Ok(Some(status)) = tracer.process.0.try_wait() {
                return Err(format!("{args:?} ended with {status}: {}", tracer.errors()));
            }
            if Instant::now() > end {
                return Err(format!("{args:?} says nothing"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(tracer)
    }

    /// Its output goes to files, unless the command says where.
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

    /// Ends it without warning.
    pub(super) fn kill(mut self) -> Result<(), String> {
        self.process.signal(KILL);
        self.wait().map(drop)
    }

    /// Waits for its end.
    fn wait(&mut self) -> Result<ExitStatus, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.0.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(format!("a tracer does not end: {}", self.errors()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it; its events and its account of them.
    pub(super) fn end(mut self, signal: i32) -> Result<(Vec<serde_json::Value>, Summary), String> {
        self.process.signal(signal);
        self.finish()
    }

    /// Waits for it to end by itself.
    pub(super) fn finish(&mut self) -> Result<(Vec<serde_json::Value>, Summary), String> {
        let status = self.wait()?;
        if !status.success() {
            return Err(format!("a tracer ended with {status}: {}", self.errors()));
        }
        account(&self.written())
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| text(&bytes)).unwrap_or_default()
}

/// Takes the summary off the end of what a tracer wrote, which must add up.
pub(super) fn account(written: &str) -> Result<(Vec<serde_json::Value>, Summary), String> {
    let mut events = lines(written);
    let summary = events.pop().unwrap_or_default()["summary"].clone();
    let number =
        |name: &str| summary[name].as_u64().ok_or_else(|| format!("no {name} in {summary}"));
    let (hits, delivered, dropped) = (number("hits")?, number("delivered")?, number("dropped")?);
    if hits != delivered + dropped + number("filtered")? {
        return Err(format!("it does not add up: {summary}"));
    }
    Ok((events, Summary { hits, dropped }))
}
