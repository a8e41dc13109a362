//! The probes of Go's runtime and standard library, whichever way a binary has them.

mod function_entries;
mod overlay;
mod overview;

use serde_json::Value;
use std::collections::BTreeSet;
use usdt_e2e::{Fixture, Mode, attach, copy, json_lines, text};

/// What the program did, by its own account, and what was traced of it.
struct Traced {
    did: Value,
    events: Vec<Value>,
}

impl Traced {
    fn run(mode: Mode) -> Traced {
        let app = copy(&Fixture::get("bridge", mode));
        let facts = app.folder.path().join("facts.json");
        let args = ["trace", "*", "--json", "--", app.as_str(), facts.to_str().unwrap()];
        let out = attach(&args);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let mut events = json_lines(&text(&out.stdout));
        let summary = events.pop().unwrap()["summary"].clone();
        assert_eq!(summary["dropped"], 0, "{summary}");
        let did = serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap();
        Traced { did, events }
    }

    fn of<'a>(&'a self, provider: &'a str, probe: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |e| e["provider"] == provider && e["probe"] == probe)
    }

    fn args<'a>(&'a self, provider: &'a str, probe: &'a str) -> impl Iterator<Item = &'a Value> {
        self.of(provider, probe).map(|e| &e["args"])
    }

    fn number(&self, fact: &str) -> u64 {
        self.did[fact].as_u64().unwrap_or_else(|| panic!("{fact}: {}", self.did))
    }

    fn ids(&self, probe: &str) -> BTreeSet<u64> {
        self.args("go", probe).map(|a| a["id"].as_u64().unwrap()).collect()
    }
}
