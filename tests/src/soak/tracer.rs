//! `usdt-attach`, writing to a file.

use crate::{command, lines, text};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// More than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A running tracer.
pub(super) struct Tracer {
    child: Child,
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
            if let Ok(Some(status)) = tracer.child.try_wait() {
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
        let create = |name: &str| std::fs::File::create(folder.path().join(name)).map_err(|e| e.to_string());
        command.stdin(Stdio::null()).stdout(create("out")?).stderr(create("errors")?);
        let child = command.spawn().map_err(|e| e.to_string())?;
        Ok(Tracer { child, folder })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
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

    /// Sends a signal by name.
    pub(super) fn signal(&self, name: &str) -> Result<(), String> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        if status.is_ok_and(|status| status.success()) { Ok(()) } else { Err(format!("kill -{name} failed")) }
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self) -> Result<ExitStatus, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(format!("a tracer does not end: {}", self.errors()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it; its events and its account of them.
    pub(super) fn end(mut self, signal: &str) -> Result<(Vec<serde_json::Value>, Summary), String> {
        self.signal(signal)?;
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

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| text(&bytes)).unwrap_or_default()
}

/// Takes the summary off the end of what a tracer wrote, which must add up.
pub(super) fn account(written: &str) -> Result<(Vec<serde_json::Value>, Summary), String> {
    let mut events = lines(written);
    let summary = events.pop().unwrap_or_default()["summary"].clone();
    let number = |name: &str| summary[name].as_u64().ok_or_else(|| format!("no {name} in {summary}"));
    let (hits, delivered, dropped) = (number("hits")?, number("delivered")?, number("dropped")?);
    if hits != delivered + dropped + number("filtered")? {
        return Err(format!("it does not add up: {summary}"));
    }
    Ok((events, Summary { hits, dropped }))
}
