//! Probes of Go's runtime and standard library: one vocabulary, whichever way a binary offers them.
//!
//! The data is in the `.toml` files beside this one.

use serde::Deserialize;
use std::sync::LazyLock;

/// A provider of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// As in notes: `net_http`.
    pub name: String,
    /// What its probes are about.
    pub doc: String,
    /// In documented order.
    #[serde(rename = "probe")]
    pub probes: Vec<Probe>,
}

/// A probe of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// As in notes: `goroutine__create`.
    pub name: String,
    /// When it fires.
    pub doc: String,
    /// The event of the runtime's own trace (`internal/trace/tracev2`) that it mirrors.
    pub event: Option<String>,
    /// In order.
    pub args: Vec<Arg>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// In the language of provider definitions: `uint64_t`, `string`, `error`.
    #[serde(rename = "type")]
    pub ty: String,
    /// What it is, with its unit.
    pub doc: String,
}

/// Every provider, in documented order.
pub fn providers() -> &'static [Provider] {
    static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
        let files = [
            include_str!("go.toml"),
            include_str!("net_http.toml"),
            include_str!("sql.toml"),
            include_str!("tls.toml"),
            include_str!("net.toml"),
        ];
        // The files are part of this program; a test reads each of them.
        files.iter().filter_map(|text| toml::from_str(text).ok()).collect()
    });
    &PROVIDERS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_file_is_read_and_says_what_users_need() {
        let names: Vec<&str> = providers().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["go", "net_http", "sql", "tls", "net"]);
        for provider in providers() {
            let mut seen = HashSet::new();
            for probe in &provider.probes {
                assert!(seen.insert(&probe.name), "{} twice", probe.name);
                assert!(probe.doc.ends_with('.'), "{}: {}", probe.name, probe.doc);
                for arg in &probe.args {
                    assert!(!arg.doc.is_empty() && !arg.doc.ends_with('.'), "{}: {}", probe.name, arg.name);
                    let timed = arg.name.ends_with("ns");
                    assert!(!timed || arg.doc.contains("nanoseconds"), "{}: {}", probe.name, arg.name);
                }
            }
        }
    }
}
