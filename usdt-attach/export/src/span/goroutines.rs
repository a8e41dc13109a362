//! The spans that goroutines were created in.

use std::collections::{HashMap, VecDeque};
use usdt_attach::discover::{Probe, Source};
use usdt_attach::event::{Event, Track, Value};
use usdt_attach::plan::PlannedProbe;

const PROVIDER: &str = "go";
const PROBE: &str = "goroutine__create";

/// True for a probe that tells which goroutine has created which. A function entry does not know
/// the new goroutine, whose id is assigned later.
pub(crate) fn tells_parents(probe: &Probe) -> bool {
    probe.provider == PROVIDER && probe.name == PROBE && probe.source != Source::Entry
}

/// True for the probe that fires when a goroutine is created.
pub(super) fn is_creation(probe: &PlannedProbe) -> bool {
    probe.provider == PROVIDER && probe.name == PROBE
}

/// The open spans that goroutines belong to: those that were open where they were created.
#[derive(Default)]
pub(super) struct Goroutines {
    /// The number of the span of each goroutine.
    spans: HashMap<Track, u64>,
    /// The goroutines of each span.
    by_span: HashMap<u64, VecDeque<Track>>,
    /// The goroutines with their spans, in the order of their creation. Some of the spans have
    /// ended.
    order: VecDeque<(Track, u64)>,
    max: usize,
}

impl Goroutines {
    /// Up to `max` goroutines are known. Beyond it, the oldest one is forgotten.
    pub(super) fn new(max: usize) -> Goroutines {
        Goroutines { max, ..Goroutines::default() }
    }

    /// The number of the open span that a goroutine belongs to.
    pub(super) fn span(&self, track: Track) -> Option<u64> {
        self.spans.get(&track).copied()
    }

    /// Adds a goroutine, given the number of the innermost open span of each goroutine. A goroutine
    /// without a span of its own passes on the one that it belongs to.
    pub(super) fn add_creation(
        &mut self,
        event: &Event<'_>,
        innermost: impl Fn(Track) -> Option<u64>,
    ) {
        let goroutine = |name: &str| match event.arg(name) {
            Some(Value::Unsigned(id)) => Some(Track { pid: event.pid, is_goroutine: true, id }),
            _ => None,
        };
        let (Some(child), Some(parent)) = (goroutine("id"), goroutine("parent")) else { return };
        if let Some(number) = innermost(parent).or_else(|| self.span(parent)) {
            self.add(child, number);
        }
    }

    fn add(&mut self, child: Track, number: u64) {
        self.spans.insert(child, number);
        self.by_span.entry(number).or_default().push_back(child);
        self.order.push_back((child, number));
        while self.order.len() > self.max {
            let Some((oldest, number)) = self.order.pop_front() else { return };
            if self.spans.get(&oldest) != Some(&number) {
                continue;
            }
            self.spans.remove(&oldest);
            // The oldest goroutine of a span is the first in its list.
            if let Some(all) = self.by_span.get_mut(&number) {
                all.pop_front();
                if all.is_empty() {
                    self.by_span.remove(&number);
                }
            }
        }
    }

    /// Forgets the goroutines of a span that has ended.
    pub(super) fn remove_span(&mut self, number: u64) {
        for track in self.by_span.remove(&number).unwrap_or_default() {
            if self.spans.get(&track) == Some(&number) {
                self.spans.remove(&track);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn goroutine(id: u64) -> Track {
        Track { pid: 1, is_goroutine: true, id }
    }

    proptest! {
        /// A goroutine belongs to its span until the span ends or too many others were created.
        #[test]
        fn knows_the_last_goroutines_of_open_spans(
            max in 0usize..20,
            steps in proptest::collection::vec((any::<bool>(), 0u64..6), 0..200),
        ) {
            let mut goroutines = Goroutines::new(max);
            let mut created: Vec<(u64, u64)> = Vec::new();
            let mut ended: Vec<(u64, usize)> = Vec::new();
            for (is_creation, span) in steps {
                if is_creation {
                    let id = created.len() as u64;
                    goroutines.add(goroutine(id), span);
                    created.push((id, span));
                } else {
                    goroutines.remove_span(span);
                    ended.push((span, created.len()));
                }
                let first_known = created.len().saturating_sub(max);
                for (index, (id, span)) in created.iter().enumerate() {
                    let has_ended = ended.iter().any(|(s, at)| s == span && index < *at);
                    let expected = (index >= first_known && !has_ended).then_some(*span);
                    prop_assert_eq!(goroutines.span(goroutine(*id)), expected);
                }
                prop_assert!(goroutines.spans.len() <= max && goroutines.order.len() <= max);
                let listed: usize = goroutines.by_span.values().map(VecDeque::len).sum();
                prop_assert_eq!(listed, goroutines.spans.len());
            }
        }
    }
}
