//! A plan: everything a back end needs to know, decided beforehand. Data only; making one needs no privileges.

#[cfg(feature = "bcc")]
mod access;
mod arguments;
mod buckets;
mod comparison;
mod condition;
mod fetch;
mod handler;
pub mod layout;
mod planner;
pub(crate) mod ptregs;
mod table;

#[cfg(feature = "bcc")]
pub(crate) use access::{Access, accesses};
pub(crate) use buckets::aligned;
pub use buckets::{Buckets, Scale};
pub use condition::{Condition, LONGEST_TEXT, infinite, order};
pub use fetch::{Address, Step, Word};
pub use handler::{Action, Area, Frame, Handler, Move};
pub use table::{BEFORE_BUCKETS, Field, FieldKind, KEY_TEXT, Starts, Table};

use crate::discover::Object;
use crate::error::Result;
use crate::filter::{Filter, Subject};
use crate::select::{Glob, Selected};
use serde::Serialize;
use stapsdt::site::{self, Instruction};
use std::path::PathBuf;
use std::sync::Arc;

/// How the kernel makes a probe on a no-op cheaper than a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimisation {
    /// It does not.
    None,
    /// Five-byte no-ops become calls (Linux 6.18).
    Nop5,
    /// Ten-byte no-ops become calls (later kernels, instead of five-byte ones).
    Nop10,
}

/// What the plan is made for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is done with hits.
    pub work: Work,
    /// Which hits count.
    pub filter: Option<Filter>,
    /// One in so many of them, chosen at random.
    pub sample: Option<u32>,
    /// At most so many of them a second and probe.
    pub rate: Option<u32>,
    /// Processes to trace; `None` for every one that maps the objects.
    pub pids: Option<Vec<u32>>,
    /// A cgroup whose processes are traced, those of the groups below included.
    pub cgroup: Option<PathBuf>,
    /// Stop counting and recording after so many hits that pass the filter.
    pub limit: Option<u64>,
    /// Longest text copied from an argument, in bytes; the rest is cut off.
    pub max_text: u32,
    /// Addresses of the user stack to record.
    pub stack: Option<u32>,
    /// Arguments that are C strings although the binary does not say so.
    pub strings: Vec<String>,
    /// Most keys of a table, and most starts that wait for their ends.
    pub entries: u32,
    /// Size of the event buffer in bytes, a power of two and a multiple of the page size.
    pub buffer: u32,
    /// Attach to instructions other than no-ops, too, which are single-stepped.
    pub single_step: bool,
    /// What the kernel optimises.
    pub optimisation: Optimisation,
}

/// What is done with hits.
#[derive(Clone, Debug, Default)]
pub enum Work {
    /// Each is recorded, for the reader.
    #[default]
    Record,
    /// They are counted.
    Count {
        /// By the values of these, beside the probe.
        by: Vec<Subject>,
    },
    /// The values of an argument are counted by their size.
    Histogram {
        /// The argument.
        value: Subject,
        /// Which sizes.
        scale: Scale,
        /// By the values of these, beside the probe.
        by: Vec<Subject>,
    },
    /// The time between two probes is counted by its size.
    Latency {
        /// Where it begins.
        start: Glob,
        /// Where it ends.
        end: Glob,
        /// What start and end have in common, beside the process; `None` for the goroutine or the thread.
        key: Option<Subject>,
        /// By the values of these at the end or, where the end has no such argument, at the start.
        by: Vec<Subject>,
        /// Which sizes.
        scale: Scale,
    },
}

impl Default for Options {
    fn default() -> Self {
        Options {
            work: Work::Record,
            filter: None,
            sample: None,
            rate: None,
            pids: None,
            cgroup: None,
            limit: None,
            max_text: 128,
            stack: None,
            strings: Vec::new(),
            entries: 1 << 16,
            buffer: 8 << 20,
            single_step: false,
            optimisation: Optimisation::None,
        }
    }
}

/// What to attach where, and what to record there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// One link each.
    pub objects: Vec<PlannedObject>,
    /// Referred to by sites.
    pub probes: Vec<PlannedProbe>,
    /// What is done with hits; sites of the same shape share one.
    pub handlers: Vec<Handler>,
    /// What is counted in the kernel.
    pub table: Option<Table>,
    /// Processes to trace; `None` for every one that maps the objects.
    pub pids: Option<Vec<u32>>,
    /// A cgroup whose processes are traced.
    pub cgroup: Option<PathBuf>,
    /// Hits after which nothing more is counted or recorded.
    pub limit: Option<u64>,
    /// One hit in so many is taken.
    pub sample: Option<u32>,
    /// Most hits taken in a second, of each probe.
    pub rate: Option<u32>,
    /// Size of the event buffer in bytes.
    pub buffer: u32,
}

/// A file and its sites.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedObject {
    /// Its name.
    pub path: PathBuf,
    /// In the order selected.
    pub sites: Vec<Site>,
    /// The file itself, held open.
    #[serde(skip)]
    pub object: Arc<Object>,
}

/// A probe's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct PlannedProbe {
    /// Provider name.
    pub provider: String,
    /// Probe name.
    pub name: String,
}

/// One address to attach to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Number of the site in the whole plan; what the kernel hands back with each hit.
    pub cookie: u32,
    /// Index in [`Plan::probes`].
    pub probe: u32,
    /// Index in [`Plan::handlers`].
    pub handler: u32,
    /// Link-time address in the note, at or a few bytes in front of what is attached to.
    #[serde(skip)]
    pub address: u64,
    /// File offset attached to.
    pub offset: u64,
    /// File offset of the semaphore.
    pub semaphore_offset: Option<u64>,
    /// The instruction chosen, and why.
    pub method: Method,
    /// The site is a function of its own, which says nothing in a stack.
    pub stub: bool,
}

/// What is attached to at a site, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The site's ten-byte no-op: the kernel calls instead of trapping.
    OptimisedNop10,
    /// The site's five-byte no-op: the kernel calls instead of trapping.
    OptimisedNop5,
    /// A no-op: one trap.
    Nop,
    /// A push that the kernel does itself: one trap.
    Push,
    /// A conditional branch that the kernel does itself: one trap.
    Branch,
    /// Another instruction: a trap and a single step, tens of times dearer.
    SingleStep,
}

impl Plan {
    /// Decides everything. Sites that cannot be attached to without surprise, or lack what the options name, are
    /// left out and explained; that none is left is an error.
    pub fn new(selected: &[Selected], options: &Options) -> Result<(Plan, Vec<String>)> {
        planner::plan(selected, options)
    }

    /// Whether hits are recorded for the reader.
    pub fn records(&self) -> bool {
        self.handlers.iter().any(|h| matches!(h.action, Action::Record(_)))
    }

    /// Bytes of its largest record.
    pub(crate) fn largest_record(&self) -> u32 {
        let size = |handler: &Handler| match &handler.action {
            Action::Record(layout) => layout.size,
            _ => 0,
        };
        self.handlers.iter().map(size).max().unwrap_or(0)
    }

    /// Every site, by cookie.
    pub fn sites(&self) -> Vec<&Site> {
        let mut sites: Vec<&Site> = self.objects.iter().flat_map(|o| &o.sites).collect();
        sites.sort_by_key(|s| s.cookie);
        sites
    }
}

/// The cheapest instruction of the site that this kernel takes, and its distance from the note's address.
fn method(
    generated: bool,
    instruction: Instruction,
    address: u64,
    optimisation: Optimisation,
) -> (Method, u64) {
    const PAGE: u64 = 4096;
    let within_page = |distance: u64, length: u64| {
        let start = address.wrapping_add(distance);
        start / PAGE == start.wrapping_add(length - 1) / PAGE
    };
    let nop10 = within_page(site::NOP10_OFFSET, 10);
    let nop5 = within_page(site::NOP5_OFFSET, 5);
    match (instruction, optimisation) {
        (_, Optimisation::Nop10) if generated && cfg!(target_arch = "x86_64") && nop10 => {
            (Method::OptimisedNop10, site::NOP10_OFFSET)
        }
        (_, Optimisation::Nop5) if generated && cfg!(target_arch = "x86_64") && nop5 => {
            (Method::OptimisedNop5, site::NOP5_OFFSET)
        }
        (Instruction::Nop, _) => (Method::Nop, 0),
        (Instruction::Push, _) => (Method::Push, 0),
        (Instruction::Branch, _) => (Method::Branch, 0),
        (Instruction::Other, _) => (Method::SingleStep, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_cheapest_legal_instruction_is_chosen() {
        let choose =
            |generated, optimisation, address| method(generated, Instruction::Nop, address, optimisation);
        assert_eq!(choose(true, Optimisation::None, 0x1000), (Method::Nop, 0));
        assert_eq!(choose(true, Optimisation::Nop5, 0x1000), (Method::OptimisedNop5, 11));
        assert_eq!(choose(true, Optimisation::Nop10, 0x1000), (Method::OptimisedNop10, 1));
        assert_eq!(
            choose(false, Optimisation::Nop5, 0x1000),
            (Method::Nop, 0),
            "C code may use its red zone"
        );
        assert_eq!(choose(true, Optimisation::Nop5, 0x1ff2), (Method::Nop, 0), "the nop5 crosses a page");
        assert_eq!(method(false, Instruction::Other, 0x1000, Optimisation::Nop5), (Method::SingleStep, 0));
    }
}
