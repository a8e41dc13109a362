//! Plans: which instruction of each site to attach to, what to read there, and what to do with a
//! hit.
//!
//! A [`Plan`] is data that contains every decision a back end needs. Building one reads no process
//! and needs no privileges, so a plan can be shown to the user before anything is attached.
//!
//! ```no_run
//! use std::path::Path;
//! use usdt_attach::discover::{scan_file, select::select};
//! use usdt_attach::plan::{Options, Plan};
//!
//! # fn main() -> usdt_attach::Result<()> {
//! let found = [scan_file(Path::new("/usr/bin/app"))?];
//! let selected = select(&found, &["app:request".to_owned()])?;
//! let (plan, warnings) = Plan::new(&selected, &Options::default())?;
//! for site in plan.sites() {
//!     println!("{:?} at file offset {:#x}: {}", site.method, site.offset, plan.action(site));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A site has a *handler*, which several sites can share. It reads what the filter needs, evaluates
//! the filter, then reads and does what its action needs. `reads` describes operands, `handler`
//! the frame on the BPF stack, `record_layout` the record of an event, and `table` the keys and
//! values of a map.

mod access;
mod arguments;
mod condition;
mod filter;
mod function_sites;
mod handler;
mod handler_builder;
mod histogram;
pub(crate) mod nesting;
mod options;
mod planner;
pub(crate) mod pt_regs;
mod reads;
pub(crate) mod record_layout;
mod site;
mod table;

pub(crate) use access::{Access, StringEnd, accesses};
pub(crate) use condition::{Condition, float_order, infinity_order};
pub(crate) use handler::{Action, Frame, FrameRegion, Handler, KeyWrite};
pub(crate) use histogram::aligned_unit;
pub use histogram::{Buckets, Scale, TimeUnit, decimal_times};
pub use nesting::MAX_NESTED_CALLS;
pub(crate) use nesting::Nesting;
pub use options::{Mode, Options};
pub(crate) use reads::{Address, ArgSlot, Guard, GuardTest, GuardWord, ReadOp};
pub use site::{Method, NopOptimization, Site};
pub use table::TableEntry;
pub(crate) use table::{FIRST_BUCKET, Field, FieldKind, KEY_STRING_LEN, Table};

use crate::discover::{Object, ObjectId};
use crate::error::{Error, Result};
use crate::filter::PROCESS;
use crate::kernel::ProcessTree;
use gobinary::symbol_pattern::FUNCTIONS;
use indexmap::IndexSet;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// What to attach where, and what to do with hits there.
///
/// Serialization is for people and tests: it shows every decision, and its format may change in any
/// release.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// Files to attach to; each gets one `uprobe_multi` link per program and process.
    pub(crate) objects: Vec<PlannedObject>,
    /// Probes by index; sites and table keys refer to them.
    pub(crate) probes: Vec<PlannedProbe>,
    /// Handlers by index; sites that do the same share one.
    pub(crate) handlers: Vec<Handler>,
    /// The map in which hits are aggregated; `None` if hits are recorded or only counted per site.
    pub(crate) table: Option<Table>,
    /// Processes to trace; `None` for every process that maps the files.
    pub(crate) pids: Option<Vec<u32>>,
    /// The processes to trace with the children that they fork, instead of `pids`.
    #[serde(skip)]
    pub(crate) children: Option<ProcessTree>,
    /// A cgroup to whose processes tracing is limited.
    pub(crate) cgroup: Option<PathBuf>,
    /// Inodes of executables to whose processes tracing is limited, by their addresses in the kernel.
    #[serde(skip)]
    pub(crate) executables: Option<Vec<u64>>,
    /// Number of hits after which nothing more is counted or recorded.
    pub(crate) limit: Option<u64>,
    /// Takes one hit in this many, chosen at random; at least 2.
    pub(crate) sample: Option<u32>,
    /// Number of hits taken per second and probe at most.
    pub(crate) rate: Option<u32>,
    /// Size of the event buffer in bytes, a power of two.
    pub(crate) buffer: u32,
}

/// A file and the sites to attach to in it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedObject {
    /// The path of the file, for messages and reports.
    pub path: PathBuf,
    /// The sites in the order in which they were selected.
    pub sites: Vec<Site>,
    #[serde(skip)]
    pub(crate) id: ObjectId,
    /// The file, held open until the plan is attached; see [`Plan::close_objects`].
    #[serde(skip)]
    pub(crate) object: Option<Arc<Object>>,
}

/// The names of a probe in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct PlannedProbe {
    /// The provider's name as the note spells it.
    pub provider: String,
    /// The probe's name as the note spells it.
    pub name: String,
}

impl PlannedProbe {
    /// Returns the symbol of the function, if the probe is one of a function.
    pub fn function(&self) -> Option<&str> {
        (self.provider == FUNCTIONS).then(|| function_sites::function_name(&self.name))
    }
}

impl PlannedObject {
    /// Returns the identity of the file.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Returns the file. If it has been closed, opens the file that is at its path now, which must
    /// be the same.
    pub(crate) fn open(&self) -> Result<Arc<Object>> {
        if let Some(object) = &self.object {
            return Ok(Arc::clone(object));
        }
        let object = Object::open(&self.path, &self.path)?;
        if object.id != self.id {
            return Err(Error::object(&self.path, "replaced since it was read; read it again"));
        }
        Ok(Arc::new(object))
    }
}

impl Plan {
    /// Returns the files to attach to.
    pub fn objects(&self) -> &[PlannedObject] {
        &self.objects
    }

    /// Returns the probes; [`Site::probe`] is an index into them.
    pub fn probes(&self) -> &[PlannedProbe] {
        &self.probes
    }

    /// Returns the probe of a site of this plan; `None` for a site of another plan.
    pub fn probe(&self, site: &Site) -> Option<&PlannedProbe> {
        self.probes.get(site.probe as usize)
    }

    /// Returns true if the plan is limited to processes by their ids.
    pub(crate) fn names_processes(&self) -> bool {
        self.pids.is_some() || self.children.is_some()
    }

    /// Closes the files. The kernel keeps those that it is attached to.
    pub(crate) fn close_objects(&mut self) {
        self.objects.iter_mut().for_each(|planned| planned.object = None);
    }

    /// Describes what the BPF program does at a site of this plan, for a person to read.
    pub fn action(&self, site: &Site) -> String {
        match self.handlers.get(site.handler as usize).map(|handler| &handler.action) {
            Some(Action::Record(layout)) => {
                format!("{} arguments, {} bytes per record", layout.args.len(), layout.size)
            }
            Some(Action::Count) => "count".to_owned(),
            Some(Action::Aggregate { key, .. }) => {
                format!("aggregate, {} bytes per key", key.size)
            }
            Some(Action::Start { key, .. }) => format!("start, {} bytes per key", key.size),
            Some(Action::End { start, .. }) => format!("end, {} bytes per key", start.size),
            None => String::new(),
        }
    }

    /// Returns the names of all recorded arguments, each once, in the order of sites and
    /// declarations.
    pub fn argument_names(&self) -> Vec<&str> {
        let mut names = IndexSet::new();
        for handler in &self.handlers {
            if let Action::Record(layout) = &handler.action {
                names.extend(layout.args.iter().map(|arg| arg.name.as_str()));
            }
        }
        names.into_iter().collect()
    }

    /// Returns the table if it keeps processes apart.
    pub(crate) fn by_process(&self) -> Option<&Table> {
        self.table.as_ref().filter(|table| table.fields.iter().any(|f| f.name == PROCESS))
    }

    /// Returns the unit of a histogram's values as a UCUM code: `ns` for latencies, otherwise `ns`,
    /// `us`, `ms`, `s` or `By`. `None` if it is not known.
    pub fn unit(&self) -> Option<&'static str> {
        self.table.as_ref().and_then(|table| table.unit)
    }

    /// Returns the buckets of a histogram that has one row per probe and no labels; `None` for
    /// other plans.
    pub fn buckets_per_probe(&self) -> Option<Buckets> {
        self.table.as_ref().filter(|table| table.is_array()).and_then(|table| table.buckets)
    }

    /// Returns true if a program brings strings into memory, where the kernel lets it sleep.
    pub(crate) fn faults_in(&self) -> bool {
        self.handlers.iter().any(Handler::faults_in)
    }

    /// Returns true if a filter compares strings that may not be in memory.
    pub(crate) fn filters_absent_strings(&self) -> bool {
        self.handlers.iter().filter_map(|h| h.filter.as_ref()).any(Condition::faults_in)
    }

    /// Returns true if hits are recorded as events.
    pub(crate) fn records(&self) -> bool {
        self.handlers.iter().any(|h| matches!(h.action, Action::Record(_)))
    }

    /// Returns the size of the largest record in bytes; 0 if hits are not recorded.
    pub(crate) fn largest_record(&self) -> u32 {
        let size = |handler: &Handler| match &handler.action {
            Action::Record(layout) => layout.size,
            _ => 0,
        };
        self.handlers.iter().map(size).max().unwrap_or(0)
    }

    /// Returns all sites in ascending order of their cookies.
    pub fn sites(&self) -> Vec<&Site> {
        let mut sites: Vec<&Site> = self.objects.iter().flat_map(|o| &o.sites).collect();
        sites.sort_by_key(|s| s.cookie);
        sites
    }
}
