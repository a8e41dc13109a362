//! A plan: everything a back end needs to know, decided beforehand. Data only; making one needs no privileges.

pub mod layout;
mod ptregs;

use crate::discover::Object;
use crate::select::Selected;
use indexmap::IndexSet;
use layout::Layout;
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
    /// Processes to trace; `None` for every one that maps the objects.
    pub pids: Option<Vec<u32>>,
    /// Stop counting and recording after so many hits.
    pub limit: Option<u64>,
    /// Longest text copied from an argument, in bytes; the rest is cut off.
    pub max_text: u32,
    /// Size of the event buffer in bytes, a power of two and a multiple of the page size.
    pub buffer: u32,
    /// What the kernel optimises.
    pub optimisation: Optimisation,
}

impl Default for Options {
    fn default() -> Self {
        Options { pids: None, limit: None, max_text: 128, buffer: 8 << 20, optimisation: Optimisation::None }
    }
}

/// What to attach where, and what to record there.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// One link each.
    pub objects: Vec<PlannedObject>,
    /// Referred to by sites.
    pub probes: Vec<PlannedProbe>,
    /// Distinct records; sites of the same shape share one.
    pub layouts: Vec<Layout>,
    /// Processes to trace; `None` for every one that maps the objects.
    pub pids: Option<Vec<u32>>,
    /// Hits after which nothing more is counted or recorded.
    pub limit: Option<u64>,
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
    /// Index in [`Plan::layouts`].
    pub layout: u32,
    /// File offset attached to.
    pub offset: u64,
    /// File offset of the semaphore.
    pub semaphore_offset: Option<u64>,
    /// The instruction chosen, and why.
    pub method: Method,
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
    /// Another instruction: a trap and a single step, tens of times dearer.
    SingleStep,
}

impl Plan {
    /// Decides everything. Sites that cannot be attached to without surprise are left out and explained.
    pub fn new(selected: &[Selected], options: &Options) -> (Plan, Vec<String>) {
        let mut objects: Vec<PlannedObject> = Vec::new();
        let mut probes: IndexSet<PlannedProbe> = IndexSet::new();
        let mut layouts: IndexSet<Layout> = IndexSet::new();
        let mut warnings = Vec::new();
        let mut cookie = 0;
        for chosen in selected {
            let Selected { object, probe, .. } = chosen;
            if probe.arch != layout::NATIVE {
                warnings.push(format!(
                    "{}: {} is for another architecture; left out",
                    object.path.display(),
                    probe.full_name()
                ));
                continue;
            }
            let (method, distance) =
                method(probe.generated, probe.instruction, probe.address, options.optimisation);
            if method == Method::SingleStep {
                warnings.push(format!(
                    "{} at {:#x} is no no-op but another instruction, which a probe would slow down tens of times; left out",
                    probe.full_name(),
                    probe.address
                ));
                continue;
            }
            let layout = Layout::new(probe, options.max_text);
            for problem in layout.args.iter().filter_map(|a| a.problem.as_ref()) {
                let warning = format!("{}: {problem}; the argument is left out", probe.full_name());
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            let name = PlannedProbe { provider: probe.provider.clone(), name: probe.name.clone() };
            let site = Site {
                cookie,
                probe: probes.insert_full(name).0 as u32,
                layout: layouts.insert_full(layout).0 as u32,
                offset: probe.offset + distance,
                semaphore_offset: probe.semaphore_offset,
                method,
            };
            cookie += 1;
            match objects.iter_mut().find(|o| o.object.id == object.id) {
                Some(planned) => planned.sites.push(site),
                None => objects.push(PlannedObject {
                    path: object.path.clone(),
                    sites: vec![site],
                    object: Arc::clone(object),
                }),
            }
        }
        let plan = Plan {
            objects,
            probes: probes.into_iter().collect(),
            layouts: layouts.into_iter().collect(),
            pids: options.pids.clone(),
            limit: options.limit,
            buffer: options.buffer,
        };
        (plan, warnings)
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
