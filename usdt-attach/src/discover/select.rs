//! Selecting probes by globs over `provider:probe`.
//!
//! ```no_run
//! use std::path::Path;
//! use usdt_attach::discover::{scan_file, select::select};
//!
//! # fn main() -> usdt_attach::Result<()> {
//! let found = [scan_file(Path::new("/usr/bin/app"))?];
//! for selected in select(&found, &["app:request-*".to_owned()])? {
//!     println!("{} at {:#x}", selected.probe.full_name(), selected.probe.address);
//! }
//! # Ok(())
//! # }
//! ```

use crate::discover::{Object, Probe, ScannedObject};
use crate::error::{Error, Result};
use indexmap::IndexSet;
use std::fmt;
use std::sync::Arc;
use wildmatch::WildMatch;

/// A selected probe site and the file that contains it.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The file that contains the site.
    pub object: Arc<Object>,
    /// The site and its probe.
    pub probe: Arc<Probe>,
    /// The processes in which the file was found; empty if the file itself was scanned.
    pub pids: Arc<[u32]>,
}

/// A pattern `provider:probe`, in which `*` matches any characters and `?` matches one.
///
/// A pattern without `:` matches probe names of all providers. An empty part matches everything.
/// `-` and `__` in names are the same: DTrace writes `request-start`, notes have `request__start`.
///
/// ```
/// use usdt_attach::discover::select::Glob;
///
/// let glob = Glob::new("app:request-*");
/// assert!(glob.matches_names("app", "request__start"));
/// assert!(!glob.matches_names("other", "request__start"));
/// ```
#[derive(Clone, Debug)]
pub struct Glob {
    pattern: String,
    provider: WildMatch,
    probe: WildMatch,
}

impl Glob {
    /// Creates a glob. Every string is a valid pattern.
    pub fn new(pattern: &str) -> Glob {
        let (provider, probe) = pattern.split_once(':').unwrap_or(("*", pattern));
        Glob {
            pattern: pattern.to_owned(),
            provider: part_pattern(provider),
            probe: part_pattern(probe),
        }
    }

    /// Returns true if the probe's names match.
    pub fn matches(&self, probe: &Probe) -> bool {
        self.matches_names(&probe.provider, &probe.name)
    }

    /// Returns true if a probe with these names matches.
    pub fn matches_names(&self, provider: &str, probe: &str) -> bool {
        self.provider.matches(&normalized_name(provider))
            && self.probe.matches(&normalized_name(probe))
    }
}

/// Returns the pattern for one part of a glob.
fn part_pattern(part: &str) -> WildMatch {
    WildMatch::new(&normalized_name(if part.is_empty() { "*" } else { part }))
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

/// Returns a provider or probe name as notes spell it, with `__` for `-`.
pub(crate) fn normalized_name(name: &str) -> String {
    name.replace('-', "__")
}

/// Returns the sites that at least one glob matches, in the order found; all sites if `globs` is
/// empty.
///
/// # Errors
///
/// `NoMatch` if a glob matches nothing, because that is usually a typing mistake. The message lists
/// the probes that there are. [`select_if_any`] accepts such globs.
pub fn select(found: &[ScannedObject], globs: &[String]) -> Result<Vec<Selected>> {
    for glob in globs.iter().map(|g| Glob::new(g)) {
        if !found.iter().flat_map(|f| &f.probes).any(|p| glob.matches(p)) {
            return Err(Error::no_match(&glob, available_probes(found)));
        }
    }
    Ok(select_if_any(found, globs))
}

/// Returns the globs that match none of the probes.
pub fn unmatched(found: &[ScannedObject], globs: &[String]) -> Vec<String> {
    let is_matched = |glob: &Glob| found.iter().flat_map(|f| &f.probes).any(|p| glob.matches(p));
    globs.iter().filter(|glob| !is_matched(&Glob::new(glob))).cloned().collect()
}

/// Removes the objects of which no probe is selected, and passes them to `on_removed`.
pub(crate) fn retain_selected(
    objects: &mut Vec<ScannedObject>,
    globs: &[String],
    mut on_removed: impl FnMut(&ScannedObject),
) {
    let globs: Vec<Glob> = globs.iter().map(|g| Glob::new(g)).collect();
    objects.retain(|object| {
        let is_selected = object.probes.iter().any(|probe| selects(&globs, probe));
        if !is_selected {
            on_removed(object);
        }
        is_selected
    });
}

/// Returns true if a glob matches the probe, or if there are no globs.
fn selects(globs: &[Glob], probe: &Probe) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.matches(probe))
}

/// As [`select`], but a glob may match nothing. Use it where probes may appear later.
pub fn select_if_any(found: &[ScannedObject], globs: &[String]) -> Vec<Selected> {
    let globs: Vec<Glob> = globs.iter().map(|g| Glob::new(g)).collect();
    let mut out = Vec::new();
    for one in found {
        for probe in one.probes.iter().filter(|probe| selects(&globs, probe)) {
            out.push(Selected {
                object: Arc::clone(&one.object),
                probe: Arc::clone(probe),
                pids: Arc::clone(&one.pids),
            });
        }
    }
    out
}

/// Lists the probes that can be selected, for a message: the first few and the number of the
/// others.
pub fn available_probes(found: &[ScannedObject]) -> String {
    const SHOWN: usize = 8;
    let all: IndexSet<String> =
        found.iter().flat_map(|f| &f.probes).map(|p| p.full_name()).collect();
    let mut names: Vec<String> = all.into_iter().collect();
    if names.is_empty() {
        return "the target has no probes".to_owned();
    }
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the target has {}{tail}", names.join(", "))
}
