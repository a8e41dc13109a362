//! A plan: everything a back end needs to know, decided beforehand. Data only; making one needs no privileges.

mod access;
mod arguments;
mod condition;
mod filter;
mod handler;
mod histogram;
mod options;
mod planner;
pub(crate) mod pt_regs;
mod reads;
pub(crate) mod record_layout;
mod site;
mod table;

pub(crate) use access::{Access, accesses};
pub(crate) use condition::{Condition, float_order, infinity_order};
pub(crate) use handler::{Action, Frame, FrameRegion, Handler, KeyWrite};
pub(crate) use histogram::aligned_unit;
pub use histogram::{Buckets, Scale};
pub use options::{Mode, Options};
pub(crate) use reads::{Address, ArgSlot, ReadOp};
pub use site::{Method, NopOptimization, Site};
pub use table::TableEntry;
pub(crate) use table::{FIRST_BUCKET, Field, FieldKind, KEY_STRING_LEN, Table};

use crate::discover::Object;
use indexmap::IndexSet;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// What to attach where, and what to record there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// One link each.
    pub(crate) objects: Vec<PlannedObject>,
    /// Referred to by sites.
    pub(crate) probes: Vec<PlannedProbe>,
    /// What is done with hits; sites of the same shape share one.
    pub(crate) handlers: Vec<Handler>,
    /// What is counted in the kernel.
    pub(crate) table: Option<Table>,
    /// Processes to trace; `None` for every one that maps the objects.
    pub(crate) pids: Option<Vec<u32>>,
    /// A cgroup whose processes are traced.
    pub(crate) cgroup: Option<PathBuf>,
    /// Hits after which nothing more is counted or recorded.
    pub(crate) limit: Option<u64>,
    /// One hit in so many is taken.
    pub(crate) sample: Option<u32>,
    /// Most hits taken in a second, of each probe.
    pub(crate) rate: Option<u32>,
    /// Size of the event buffer in bytes.
    pub(crate) buffer: u32,
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

impl Plan {
    /// Objects to attach to; each gets one `uprobe_multi` link.
    pub fn objects(&self) -> &[PlannedObject] {
        &self.objects
    }

    /// Probes that the sites belong to, by index.
    pub fn probes(&self) -> &[PlannedProbe] {
        &self.probes
    }

    /// The probe of a site of this plan.
    pub fn probe(&self, site: &Site) -> Option<&PlannedProbe> {
        self.probes.get(site.probe as usize)
    }

    /// What the program does at a site of this plan, in words.
    pub fn action(&self, site: &Site) -> String {
        match self.handlers.get(site.handler as usize).map(|handler| &handler.action) {
            Some(Action::Record(layout)) => {
                format!("{} arguments, {} bytes per record", layout.args.len(), layout.size)
            }
            Some(Action::Count) => "counted".to_owned(),
            Some(Action::Aggregate { key, .. }) => {
                format!("counted in the kernel, {} bytes per key", key.size)
            }
            Some(Action::Start { key, .. }) => format!("a start, {} bytes per key", key.size),
            Some(Action::End { start, .. }) => format!("an end, {} bytes per key", start.size),
            None => String::new(),
        }
    }

    /// EnumLabels of the arguments that are recorded, each once, in the order of sites and declarations.
    pub fn argument_names(&self) -> Vec<&str> {
        let mut names = IndexSet::new();
        for handler in &self.handlers {
            if let Action::Record(layout) = &handler.action {
                names.extend(layout.args.iter().map(|arg| arg.name.as_str()));
            }
        }
        names.into_iter().collect()
    }

    /// The unit of the values that are counted in a histogram: `ns` for latencies, `None` where it is not known.
    pub fn unit(&self) -> Option<&'static str> {
        self.table.as_ref().and_then(|table| table.unit)
    }

    /// The buckets of a histogram with one row per probe; `None` for other plans.
    pub fn buckets_per_probe(&self) -> Option<Buckets> {
        self.table.as_ref().filter(|table| table.is_array()).and_then(|table| table.buckets)
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
