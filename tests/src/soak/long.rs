//! Long-running tracers that count every hit of every program.

use super::tracer::{INT, Tracer};
use std::path::Path;

/// A running `usdt-attach count` with one of the backends.
pub(super) struct Counter {
    tracer: Tracer,
    backend: &'static str,
}

impl Counter {
    /// Starts the tracer and returns when it is attached.
    pub(super) fn start(file: &Path, backend: &'static str) -> Result<Counter, String> {
        let file = file.to_string_lossy();
        let args = [
            "count",
            "--json",
            "--interval",
            "1s",
            "--backend",
            backend,
            "e2e:hit",
            "--exe",
            &file,
        ];
        Ok(Counter { tracer: Tracer::start(&args)?, backend })
    }

    pub(super) fn name(&self) -> String {
        format!("usdt-attach count --backend {}", self.backend)
    }

    pub(super) fn pid(&self) -> u32 {
        self.tracer.pid()
    }

    /// Stops the tracer and returns its name and its count.
    pub(super) fn stop(self) -> Result<(String, u64), String> {
        let name = self.name();
        let (_, summary) = self.tracer.stop(INT)?;
        Ok((name, summary.hits))
    }
}
