//! The maps of latency starts that wait for their ends.

use super::{put, word};
use crate::plan::Plan;
use crate::plan::nesting::{OUTERMOST, slot};
use std::collections::BTreeMap;

/// The starts of a plan. Values have the layout of the maps; see `plan::nesting`.
#[derive(Debug)]
pub(super) struct Starts {
    starts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The starts that are nested in those of `starts`, by key and slot.
    nested: BTreeMap<(Vec<u8>, u64), Vec<u8>>,
    /// Number of entries of each map at most.
    max: usize,
    /// True if starts with the same key are nested.
    nests: bool,
}

/// Why an end has no start.
pub(super) enum Missing {
    Unmatched,
    TooDeep,
}

impl Starts {
    pub(super) fn new(plan: &Plan) -> Starts {
        let starts = plan.table.as_ref().and_then(|table| table.starts);
        Starts {
            starts: BTreeMap::new(),
            nested: BTreeMap::new(),
            max: starts.map_or(0, |starts| starts.entries as usize),
            nests: starts.is_some_and(|starts| starts.nests),
        }
    }

    /// Number of starts whose ends have not come, also of those that are not kept.
    pub(super) fn waiting(&self) -> u64 {
        let level = |saved: &Vec<u8>| if self.nests { word(saved, saved.len() - 8) } else { 0 };
        self.starts.values().map(|saved| 1 + level(saved)).sum()
    }

    /// Saves a start. Returns whether it replaces another one; `None` if there is no space for it.
    pub(super) fn replace(&mut self, key: Vec<u8>, saved: Vec<u8>) -> Option<bool> {
        if self.starts.len() >= self.max && !self.starts.contains_key(&key) {
            return None;
        }
        Some(self.starts.insert(key, saved).is_some())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.starts.remove(key)
    }

    /// Saves a start, which is nested in the others with the same key; `None` if there is no space
    /// for it.
    pub(super) fn push(&mut self, key: Vec<u8>, mut saved: Vec<u8>) -> Option<()> {
        let at = saved.len() - 8;
        let Some(outermost) = self.starts.get_mut(&key) else {
            return self.replace(key, saved).map(drop);
        };
        let level = word(outermost, at) + 1;
        put(outermost, at as u32, level);
        put(&mut saved, at as u32, level);
        let nested_key = (key, slot(level));
        if self.nested.len() >= self.max && !self.nested.contains_key(&nested_key) {
            return None;
        }
        self.nested.insert(nested_key, saved);
        Some(())
    }

    /// Removes the innermost start of a key.
    pub(super) fn pop(&mut self, key: Vec<u8>) -> Result<Vec<u8>, Missing> {
        let outermost = self.starts.get_mut(&key).ok_or(Missing::Unmatched)?;
        let at = outermost.len() - 8;
        let level = word(outermost, at);
        if level == 0 {
            return self.starts.remove(&key).ok_or(Missing::Unmatched);
        }
        put(outermost, at as u32, level - 1);
        let nested_key = (key, slot(level));
        match self.nested.get(&nested_key) {
            Some(saved) if word(saved, at) == level => {
                self.nested.remove(&nested_key).ok_or(Missing::Unmatched)
            }
            _ if level < OUTERMOST.into() => Err(Missing::Unmatched),
            _ => Err(Missing::TooDeep),
        }
    }
}
