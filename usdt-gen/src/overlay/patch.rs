//! A change of a source file, anchored by the text it changes.

use serde::Deserialize;
use std::fmt;

/// Of several places, the releases' different spellings, exactly one is in the file, once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// Below `GOROOT/src`.
    pub(super) file: String,
    /// That are fired there.
    pub(super) probes: Vec<String>,
    #[serde(rename = "place")]
    places: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// Whole lines.
    find: String,
    put: String,
}

/// A file that lacks a place or has it more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Whose probes cannot be added.
    pub provider: String,
    /// The probes.
    pub probes: Vec<String>,
    /// Below `GOROOT/src`.
    pub file: String,
    /// How often places were found.
    pub found: usize,
    /// What was looked for: of the places the one that the file is nearest to.
    pub wanted: String,
    /// Line of the file, from 1, at which the lines that agree with it begin, and how many do.
    pub nearest: Option<(usize, usize)>,
    /// The line there is where another one was wanted.
    pub instead: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probes: Vec<String> =
            self.probes.iter().map(|p| format!("{}:{p}", self.provider)).collect();
        write!(f, "{} is not as this version of usdt-gen knows it", self.file)?;
        write!(f, ", so {} cannot be added: ", probes.join(", "))?;
        if self.found > 1 {
            write!(f, "the place is there {} times:\n\n{}", self.found, self.wanted)?;
        } else if let Some((line, agree)) = self.nearest {
            writeln!(f, "line {} differs", line + agree)?;
            let wanted = self.wanted.lines().nth(agree).unwrap_or_default();
            write!(
                f,
                "  wanted: {}\n  found:  {}\n",
                wanted.trim_start(),
                self.instead.trim_start()
            )?;
        } else {
            write!(f, "this is nowhere in it:\n\n{}", self.wanted)?;
        }
        write!(f, "a newer usdt-gen may know this release of Go; --providers leaves a provider out")
    }
}

impl Edit {
    /// The changed file. A mismatch says whose probes are missing.
    pub(super) fn apply(&self, provider: &str, text: &str) -> Result<String, Box<Mismatch>> {
        let found: Vec<(&Place, usize)> = self
            .places
            .iter()
            .flat_map(|place| finds(text, &place.find).map(move |at| (place, at)))
            .collect();
        if let [(place, at)] = found.as_slice() {
            let (before, rest) = text.split_at(*at);
            let after = rest.strip_prefix(place.find.as_str()).unwrap_or_default();
            return Ok(format!("{before}{}{after}", place.put));
        }
        let (place, nearest) = match found.first() {
            Some((place, _)) => (*place, None),
            None => {
                let near = self.places.iter().map(|place| (place, nearest(text, &place.find)));
                let Some(best) = near.max_by_key(|(_, near)| near.map(|(_, agree)| agree)) else {
                    return Ok(text.to_owned());
                };
                best
            }
        };
        let line = nearest.and_then(|(line, agree)| text.lines().nth(line + agree - 1));
        Err(Box::new(Mismatch {
            provider: provider.to_owned(),
            probes: self.probes.clone(),
            file: self.file.clone(),
            found: found.len(),
            wanted: place.find.clone(),
            nearest,
            instead: line.unwrap_or_default().to_owned(),
        }))
    }
}

/// Offsets of whole lines.
fn finds<'t>(text: &'t str, wanted: &'t str) -> impl Iterator<Item = usize> + 't {
    text.match_indices(wanted).map(|(at, _)| at).filter(move |at| {
        let before = text.get(..*at).unwrap_or_default();
        before.is_empty() || before.ends_with('\n')
    })
}

/// Where most lines from the first on agree: line number and how many.
fn nearest(text: &str, wanted: &str) -> Option<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let wanted: Vec<&str> = wanted.lines().collect();
    let agree = |at: usize| {
        let here = lines.get(at..).unwrap_or_default();
        here.iter().zip(&wanted).take_while(|(a, b)| a == b).count()
    };
    let best =
        (0..lines.len()).map(|at| (at + 1, agree(at))).rev().max_by_key(|(_, agree)| *agree)?;
    (best.1 > 0).then_some(best)
}
