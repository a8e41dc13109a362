//! The probes of Go's runtime and standard library, by each of the ways a binary can have them.

mod added_probes;
mod function_entries;
mod overview;
mod unmodified;

use serde_json::Value;
use std::collections::BTreeSet;
use usdt_e2e::{Fixture, Mode, attach, copy, json_lines, text};

/// A run of the fixture `bridge`: what the program reports that it did, and the events that were
/// traced.
struct Traced {
    /// Written by the program: counts and identities of everything that it did.
    facts: Value,
    events: Vec<Value>,
    /// What the tracer wrote to standard error.
    notices: String,
}

impl Traced {
    /// Runs the program and traces everything that the globs match.
    fn run(mode: Mode, globs: &[&str]) -> Traced {
        let app = copy(&Fixture::get("bridge", mode));
        let facts_file = app.folder.path().join("facts.json");
        // The program does everything in a burst of 80,000 events. The buffer takes all of them, so
        // that none is dropped on a machine that is too busy to run the tracer meanwhile.
        let options = ["trace", "--json", "--buffer", "64MiB"];
        let program = ["--", app.as_str(), facts_file.to_str().unwrap()];
        let out = attach(&[&options, globs, &program].concat());
        let notices = text(&out.stderr);
        assert!(out.status.success(), "{notices}");
        let mut events = json_lines(&text(&out.stdout));
        let summary = events.pop().unwrap()["summary"].clone();
        assert_eq!(summary["dropped"], 0, "{summary}");
        let facts = serde_json::from_slice(&std::fs::read(&facts_file).unwrap()).unwrap();
        Traced { facts, events, notices }
    }

    /// Returns the events of a probe.
    fn events_of<'a>(
        &'a self,
        provider: &'a str,
        probe: &'a str,
    ) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |e| e["provider"] == provider && e["probe"] == probe)
    }

    /// Returns the arguments of each event of a probe.
    fn args<'a>(&'a self, provider: &'a str, probe: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events_of(provider, probe).map(|e| &e["args"])
    }

    /// Returns a number that the program reported.
    fn number(&self, fact: &str) -> u64 {
        self.facts[fact].as_u64().unwrap_or_else(|| panic!("{fact}: {}", self.facts))
    }

    /// Returns the goroutine ids in the events of a probe of the provider `go`.
    fn ids(&self, probe: &str) -> BTreeSet<u64> {
        self.args("go", probe).map(|a| a["id"].as_u64().unwrap()).collect()
    }
}
