//! Tracers that stay: they count every hit of every program.

use super::tracer::{INT, Tracer};
use std::path::Path;

/// `usdt-attach count` by one of the back ends.
pub(super) struct Counter {
    tracer: Tracer,
    backend: &'static str,
}

impl Counter {
    /// Returns when it is attached.
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
        format!("usdt-attach count by {}", self.backend)
    }

    pub(super) fn pid(&self) -> u32 {
        self.tracer.pid()
    }

    /// Ends it and returns its count.
    pub(super) fn end(self) -> Result<(String, u64), String> {
        let name = self.name();
        let (_, summary) = self.tracer.end(INT)?;
        Ok((name, summary.hits))
    }
}
