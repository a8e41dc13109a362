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
pub mod record_layout;
mod site;
mod table;

pub(crate) use access::{Access, accesses};
pub use condition::{Condition, LONGEST_TEXT, infinite, order};
pub use handler::{Action, Frame, FrameRegion, Handler, KeyWrite};
pub(crate) use histogram::aligned;
pub use histogram::{Buckets, Scale};
pub use options::{Mode, Options};
pub use reads::{Address, ArgSlot, ReadOp};
pub use site::{Method, NopOptimization, Site};
pub use table::{BEFORE_BUCKETS, Entry, Field, FieldKind, KEY_TEXT, Starts, Table};

use crate::discover::Object;
use crate::discover::select::Selected;
use crate::error::Result;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

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
