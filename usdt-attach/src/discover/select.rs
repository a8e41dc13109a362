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
pub use gobinary::symbol_pattern::RETURN;
use gobinary::symbol_pattern::{FUNCTIONS, FunctionPattern};
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
/// The name of a generated Go function, `RequestStart`, matches that probe, too.
///
/// `func:SYMBOL` is the entry of a function of a Go binary, and `func:SYMBOL%return` its returns. In
/// SYMBOL, the asterisk of `(*` is not a wildcard.
///
/// ```
/// use usdt_attach::discover::select::Glob;
///
/// let glob = Glob::new("app:request-*");
/// assert!(glob.matches_names("app", "request__start"));
/// assert!(!glob.matches_names("other", "request__start"));
/// assert!(Glob::new("app:RequestStart").matches_names("app", "request__start"));
/// ```
#[derive(Clone, Debug)]
pub struct Glob {
    pattern: String,
    provider: WildMatch,
    probe: WildMatch,
    /// Another meaning of the pattern; `None` if it has none.
    special: Option<Box<SpecialPattern>>,
}

/// A pattern that matches other names than those of notes.
#[derive(Clone, Debug)]
enum SpecialPattern {
    /// May be the name of the Go function of a probe: without its case.
    GoFunction(WildMatch),
    /// Is that of a function probe.
    Function(FunctionPattern),
}

impl Glob {
    /// Creates a glob. Every string is a valid pattern.
    pub fn new(pattern: &str) -> Glob {
        let (provider, probe) = pattern.split_once(':').unwrap_or(("*", pattern));
        let go_function =
            || is_go_spelling(probe).then(|| WildMatch::new(&probe.to_ascii_lowercase()));
        let special = match FunctionPattern::parse(pattern) {
            Some(function) => Some(SpecialPattern::Function(function)),
            None => go_function().map(SpecialPattern::GoFunction),
        };
        Glob {
            pattern: pattern.to_owned(),
            provider: part_pattern(provider),
            probe: part_pattern(probe),
            special: special.map(Box::new),
        }
    }

    /// Returns the glob of the returns of functions, if this one is that of their entries.
    pub fn returns(&self) -> Option<String> {
        let entries = self.function().filter(|function| !function.is_return)?;
        Some(format!("{entries}{RETURN}"))
    }

    /// Returns true if the probe's names match.
    pub fn matches(&self, probe: &Probe) -> bool {
        self.matches_names(&probe.provider, &probe.name)
    }

    /// Returns true if a probe with these names matches.
    pub fn matches_names(&self, provider: &str, probe: &str) -> bool {
        if let Some(function) = self.function() {
            return provider == FUNCTIONS && function.matches(probe);
        }
        self.provider.matches(&normalized_name(provider))
            && (self.probe.matches(&normalized_name(probe)) || self.matches_go_function(probe))
    }

    /// Returns true if the pattern matches the name of the Go function that usdt-gen generates for
    /// the probe: `RequestStart` for `request__start`, `HTTPDone` for `http_done`.
    fn matches_go_function(&self, probe: &str) -> bool {
        let words = || probe.chars().filter(|c| !matches!(c, '_' | '-'));
        match self.special.as_deref() {
            Some(SpecialPattern::GoFunction(glob)) => {
                glob.matches(&words().collect::<String>().to_ascii_lowercase())
            }
            _ => false,
        }
    }

    /// Returns the pattern of functions; `None` if the glob is that of other probes.
    fn function(&self) -> Option<&FunctionPattern> {
        match self.special.as_deref() {
            Some(SpecialPattern::Function(function)) => Some(function),
            _ => None,
        }
    }
}

/// Returns true if a pattern may be the name of a Go function: it begins with a capital, has other
/// letters, and does not separate words.
fn is_go_spelling(probe: &str) -> bool {
    probe.starts_with(|c: char| c.is_ascii_uppercase())
        && probe.contains(|c: char| c.is_ascii_lowercase())
        && !probe.contains(['_', '-'])
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
            return Err(Error::no_match(&glob, available_for(&glob, found)));
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

/// Says what can be selected instead of a glob without match, for a message: as
/// [`available_probes`], but for functions how to list them.
pub fn available_for(glob: &Glob, found: &[ScannedObject]) -> String {
    match glob.function() {
        Some(_) => "the target has no such function; `usdt-attach list BIN 'func:main.*'` lists those of package main".to_owned(),
        None => available_probes(found),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_the_names_of_go_functions() {
        for (glob, probe, expected) in [
            ("shop:RequestStart", "request__start", true),
            ("RequestStart", "request-start", true),
            ("shop:Request*", "request__start", true),
            ("shop:HTTPDone", "http_done", true),
            ("shop:RequestStart", "RequestStart", true),
            ("shop:RequestStart", "request__started", false),
            ("shop:Request_Start", "request__start", false),
            ("shop:GC", "gc", false),
            ("shop:requestStart", "request__start", false),
            ("other:RequestStart", "request__start", false),
        ] {
            assert_eq!(Glob::new(glob).matches_names("shop", probe), expected, "{glob} {probe}");
        }
    }

    #[test]
    fn matches_functions_by_their_symbols() {
        for (glob, probe, expected) in [
            ("func:main.(*Store).Get", "main.(*Store).Get", true),
            ("func:main.(*Store).Get", "main.(*Store).Get%return", false),
            ("func:main.(*Store).Get%return", "main.(*Store).Get%return", true),
            ("func:main.(*Store).Get%return", "main.(*Store).Get", false),
            ("func:main.(*Store).*", "main.(*Store).Put", true),
            ("func:main.(*).Put", "main.(*Store).Put", false),
            ("func:*/store.(*Store).*", "example.com/store.(*Store).Get", true),
            ("func:*/store.(*Store).*", "example.com/store.Store.Get", false),
            ("func:main.*", "main.run-time", true),
            ("func:main.*", "main.f%return", false),
            ("func:*%return", "main.f%return", true),
            ("func:main.f?", "main.f1", true),
            ("func:", "main.f", true),
            ("func:main.Run", "main.run", false),
        ] {
            assert_eq!(Glob::new(glob).matches_names("func", probe), expected, "{glob} {probe}");
        }
        assert!(!Glob::new("func:main.f").matches_names("app", "main.f"));
    }

    proptest! {
        #[test]
        fn every_symbol_matches_itself(symbol in "[a-z./()*%A-Z\\[\\]-]{1,30}") {
            let glob = Glob::new(&format!("func:{symbol}"));
            prop_assert!(glob.matches_names("func", &symbol));
        }

        #[test]
        fn every_name_matches_itself(name in "[A-Za-z_-]{1,12}") {
            prop_assert!(Glob::new(&name).matches_names("app", &name));
        }

        #[test]
        fn the_go_function_of_a_probe_matches_it(
            words in proptest::collection::vec("[a-z]{2}[a-z0-9]{0,4}", 1..4),
            separator in "_|__|-",
        ) {
            let capital = |word: &String| word[..1].to_uppercase() + &word[1..];
            let function: String = words.iter().map(capital).collect();
            prop_assert!(Glob::new(&function).matches_names("app", &words.join(&separator)));
        }
    }
}
