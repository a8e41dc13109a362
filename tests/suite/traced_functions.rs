//! Runs of the programs of `tests/go/functions` under `usdt-attach`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use usdt_e2e::{attach, events_and_summary, text};

/// What `usdt-attach` printed, and what the program did.
pub(crate) struct Traced {
    pub(crate) lines: Vec<Value>,
    pub(crate) summary: Value,
    pub(crate) notices: String,
    pub(crate) facts: Value,
}

/// Runs a program under `usdt-attach` to its end.
pub(crate) fn trace(app: &Path, args: &[&str]) -> Traced {
    let folder = tempfile::tempdir().unwrap();
    let facts = folder.path().join("facts.json");
    let program = ["--json", "--", app.to_str().unwrap(), facts.to_str().unwrap()];
    let out = attach(&[args, &program].concat());
    let notices = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{notices}");
    let (lines, summary) = events_and_summary(&text(&out.stdout));
    let facts = serde_json::from_slice(&std::fs::read(facts).unwrap()).unwrap();
    Traced { lines, summary, notices, facts }
}

impl Traced {
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.facts[name].as_u64().unwrap()
    }

    /// The counts of rows by the name of the function.
    pub(crate) fn counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for row in &self.lines {
            assert_eq!(row["provider"], "func");
            *counts.entry(row["probe"].as_str().unwrap()).or_default() +=
                row["count"].as_u64().unwrap();
        }
        counts
    }

    pub(crate) fn events(&self, probe: &str) -> Vec<&Value> {
        self.lines.iter().filter(|event| event["probe"] == probe).collect()
    }
}
