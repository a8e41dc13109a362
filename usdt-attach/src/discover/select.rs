//! Which probes are meant: globs over `provider:probe`.

use crate::discover::{Object, Probe, ScannedObject};
use crate::error::{Error, Result};
use indexmap::IndexSet;
use std::fmt;
use std::sync::Arc;
use wildmatch::WildMatch;

/// A chosen site.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The file it is in.
    pub object: Arc<Object>,
    /// The site.
    pub probe: Arc<Probe>,
    /// The processes that the file was found in.
    pub pids: Arc<[u32]>,
}

/// A pattern `provider:probe` with `*` and `?` in both parts; without `:`, a pattern for the probe alone.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    provider: WildMatch,
    probe: WildMatch,
}

impl Glob {
    /// Reads a pattern. DTrace's spelling (`request-start`) and the note's (`request__start`) are the same.
    pub fn new(text: &str) -> Glob {
        let (provider, probe) = text.split_once(':').unwrap_or(("*", text));
        let or_any = |part: &str| WildMatch::new(&normal(if part.is_empty() { "*" } else { part }));
        Glob { text: text.to_owned(), provider: or_any(provider), probe: or_any(probe) }
    }

    /// Whether the probe is meant.
    pub fn matches(&self, probe: &Probe) -> bool {
        self.matches_names(&probe.provider, &probe.name)
    }

    /// Whether a probe of these names is meant.
    pub fn matches_names(&self, provider: &str, probe: &str) -> bool {
        self.provider.matches(&normal(provider)) && self.probe.matches(&normal(probe))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A name in the note's spelling.
pub fn normal(name: &str) -> String {
    name.replace('-', "__")
}

/// The sites that any of `globs` matches, in the order found; all sites for no glob. A glob without a match is
/// an error: it is a mistake more often than a wish.
pub fn select(found: &[ScannedObject], globs: &[String]) -> Result<Vec<Selected>> {
    for glob in globs.iter().map(|g| Glob::new(g)) {
        if !found.iter().flat_map(|f| &f.probes).any(|p| glob.matches(p)) {
            return Err(Error::no_match(glob.text.clone(), known(found)));
        }
    }
    Ok(select_if_any(found, globs))
}

/// The same, where a glob without a match is none either.
pub fn select_if_any(found: &[ScannedObject], globs: &[String]) -> Vec<Selected> {
    let globs: Vec<Glob> = globs.iter().map(|g| Glob::new(g)).collect();
    let chosen = |p: &Probe| globs.is_empty() || globs.iter().any(|g| g.matches(p));
    let mut out = Vec::new();
    for one in found {
        for probe in one.probes.iter().filter(|p| chosen(p)) {
            out.push(Selected {
                object: Arc::clone(&one.object),
                probe: Arc::clone(probe),
                pids: Arc::clone(&one.pids),
            });
        }
    }
    out
}

/// What there is to choose from, cut to what a person reads.
fn known(found: &[ScannedObject]) -> String {
    const SHOWN: usize = 8;
    let all: IndexSet<String> =
        found.iter().flat_map(|f| &f.probes).map(|p| p.full_name()).collect();
    let mut names: Vec<String> = all.into_iter().collect();
    if names.is_empty() {
        return "there are no probes at all".to_owned();
    }
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there are {}{tail}", names.join(", "))
}
