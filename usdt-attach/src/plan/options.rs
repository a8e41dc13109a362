//! The options of a plan.

use super::histogram::Scale;
use super::site::NopOptimization;
use crate::bpf::cpus::cpu_ids_end;
use crate::discover::select::Glob;
use crate::discover::{DebugFile, FunctionOptions};
use crate::filter::{Filter, Subject};
use crate::kernel::ProcessTree;
use std::path::PathBuf;

/// Options for [`Plan::new`](super::Plan::new): what to do with hits, which hits to take, and
/// limits.
///
/// ```
/// use usdt_attach::Filter;
/// use usdt_attach::plan::Options;
///
/// let options = Options { filter: Some(Filter::parse("status >= 500")?), ..Options::default() };
/// # Ok::<(), usdt_attach::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do with hits. The default records them.
    pub mode: Mode,
    /// A condition that a hit must meet; `None` takes every hit.
    pub filter: Option<Filter>,
    /// Takes one hit in this many, chosen at random; `None` and 1 take every hit.
    pub sample: Option<u32>,
    /// Takes up to this many hits per second and probe; `None` sets no limit.
    pub rate: Option<u32>,
    /// Processes to trace; `None` for every process that maps the files.
    pub pids: Option<Vec<u32>>,
    /// The processes to trace with the children that they fork, instead of `pids`; `None` traces no
    /// children.
    pub children: Option<ProcessTree>,
    /// A directory of the cgroup v2 hierarchy, to whose processes tracing is limited. Descendant
    /// cgroups are included.
    pub cgroup: Option<PathBuf>,
    /// The addresses of inodes in the kernel, to whose processes tracing is limited: those that run
    /// one of these executables. `None` sets no limit.
    pub executables: Option<Vec<u64>>,
    /// Stops counting and recording after this many hits that passed the filter; `None` sets no
    /// limit.
    pub limit: Option<u64>,
    /// Bytes copied from each string argument at most; longer strings are truncated. The default is
    /// 128.
    pub max_string: u32,
    /// Records the user stack with up to this many return addresses; `None` records no stacks.
    pub stack: Option<u32>,
    /// Records which call of a function an event belongs to, for
    /// [`Event::frame`](crate::event::Event::frame). The default is false.
    pub call_frames: bool,
    /// Names of integer or pointer arguments to read as C strings.
    pub strings: Vec<String>,
    /// The arguments of function probes to read, each as a path such as `r.URL.Path`, or with a name
    /// for it, `path=r.URL.Path`. If empty, those with numbers, strings, times
    /// and errors.
    pub args: Vec<String>,
    /// Files with the debug information (DWARF) of binaries without it, for the arguments of function
    /// probes. Files in `/usr/lib/debug` are found without this.
    pub debug_files: Vec<DebugFile>,
    /// Number of keys in the table at most, and of starts that wait for their ends. Hits beyond it
    /// are counted as dropped. The default is 65,536.
    pub entries: u32,
    /// Also keeps the hits of each process apart: the table has up to four times as many keys,
    /// and rows have the process of [`process_of`](crate::event::counts::process_of). The
    /// default is false. Events have their process anyway.
    pub by_process: bool,
    /// Size of the event buffer in bytes: a power of two and a multiple of the page size. It is
    /// divided between the CPUs if that leaves at least 256 KiB for each of them, and if the kernel
    /// supports it (Linux 6.10). The default is 8 MiB, or 512 KiB for each CPU if that is more.
    pub buffer: u32,
    /// Also attaches to instructions that are not NOPs. The kernel single-steps them, which takes
    /// tens of times longer.
    pub single_step: bool,
    /// Which NOPs the kernel optimizes. The default is what the running kernel does.
    pub nop_optimization: NopOptimization,
}

/// What to do with hits.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    /// Records each hit as an event.
    #[default]
    Record,
    /// Counts hits in the kernel.
    Count {
        /// Arguments that label a row, in addition to the probe.
        by: Vec<Subject>,
    },
    /// Builds a histogram of an integer argument in the kernel.
    Histogram {
        /// The argument.
        value: Subject,
        /// The sequence of buckets.
        scale: Scale,
        /// Arguments that label a row, in addition to the probe.
        by: Vec<Subject>,
    },
    /// Builds a histogram of the time between two probes in the kernel, in nanoseconds.
    Latency {
        /// The probe at which the time starts.
        start: Glob,
        /// The probe at which the time ends.
        end: Glob,
        /// The argument that pairs a start with its end, in addition to the process. `None` pairs
        /// by goroutine if all sites are Go code with a known goroutine id, else by thread.
        key: Option<Subject>,
        /// Arguments that label a row: arguments of the end or, if the end has no such argument, of
        /// the start.
        by: Vec<Subject>,
        /// The sequence of buckets.
        scale: Scale,
    },
}

impl Options {
    /// Returns the options of the search for functions, for
    /// [`add_functions`](crate::discover::add_functions).
    pub fn function_options(&self) -> FunctionOptions {
        let mut used: Vec<&Subject> =
            self.filter.iter().flat_map(|filter| filter.0.subjects()).collect();
        match &self.mode {
            Mode::Record => {}
            Mode::Count { by } => used.extend(by),
            Mode::Histogram { value, by, .. } => used.extend(by.iter().chain([value])),
            Mode::Latency { key, by, .. } => used.extend(by.iter().chain(key)),
        }
        let used = used.into_iter().map(|subject| subject.name.clone());
        FunctionOptions {
            chosen: self.args.clone(),
            used: used.collect(),
            debug_files: self.debug_files.clone(),
            lists_inlined_calls: false,
        }
    }
}

/// How many times more keys a table has if it keeps processes apart.
pub(super) const PROCESS_FACTOR: u32 = 4;

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::Record,
            filter: None,
            sample: None,
            rate: None,
            pids: None,
            children: None,
            cgroup: None,
            executables: None,
            limit: None,
            max_string: 128,
            stack: None,
            call_frames: false,
            strings: Vec::new(),
            args: Vec::new(),
            debug_files: Vec::new(),
            entries: 1 << 16,
            by_process: false,
            buffer: default_buffer(),
            single_step: false,
            nop_optimization: NopOptimization::detect(),
        }
    }
}

/// The default size of the event buffer in bytes.
fn default_buffer() -> u32 {
    const TOTAL: u32 = 8 << 20;
    const PER_CPU: u32 = 512 << 10;
    let for_cpus =
        cpu_ids_end().and_then(|cpus| cpus.checked_mul(PER_CPU)?.checked_next_power_of_two());
    for_cpus.map_or(TOTAL, |bytes| bytes.max(TOTAL))
}
