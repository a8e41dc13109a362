//! What a plan is made for.

use super::histogram::Scale;
use super::site::NopOptimization;
use crate::discover::select::Glob;
use crate::filter::{Filter, Subject};
use std::path::PathBuf;

/// How to plan: what to do with hits, which hits count, and limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is done with hits.
    pub mode: Mode,
    /// Which hits count.
    pub filter: Option<Filter>,
    /// Takes one hit in this many, chosen at random.
    pub sample: Option<u32>,
    /// Takes at most this many hits per second and probe.
    pub rate: Option<u32>,
    /// Processes to trace; `None` for every one that maps the objects.
    pub pids: Option<Vec<u32>>,
    /// A cgroup whose processes are traced, those of the groups below included.
    pub cgroup: Option<PathBuf>,
    /// Stops counting and recording after this many hits that pass the filter.
    pub limit: Option<u64>,
    /// Longest text copied from an argument, in bytes; the rest is cut off.
    pub max_string: u32,
    /// Addresses of the user stack to record.
    pub stack: Option<u32>,
    /// Arguments that are C strings although the binary does not say so.
    pub strings: Vec<String>,
    /// Most keys of a table, and most starts that wait for their ends.
    pub entries: u32,
    /// Size of the event buffer in bytes, a power of two and a multiple of the page size.
    pub buffer: u32,
    /// Attach to instructions other than NOPs, too, which are single-stepped.
    pub single_step: bool,
    /// Which NOPs the kernel optimizes; the default is what the running kernel does.
    pub nop_optimization: NopOptimization,
}

/// What is done with hits.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    /// Each is recorded, for the reader.
    #[default]
    Record,
    /// They are counted.
    Count {
        /// Labels of a row, in addition to the probe.
        by: Vec<Subject>,
    },
    /// The values of an argument are counted by their size.
    Histogram {
        /// The argument.
        value: Subject,
        /// Which sizes.
        scale: Scale,
        /// Labels of a row, in addition to the probe.
        by: Vec<Subject>,
    },
    /// The time between two probes is counted by its size.
    Latency {
        /// Where it begins.
        start: Glob,
        /// Where it ends.
        end: Glob,
        /// What a start and its end have in common, in addition to the process; `None` for the goroutine or the thread.
        key: Option<Subject>,
        /// Labels of a row: arguments of the end or, where the end has no such argument, of the start.
        by: Vec<Subject>,
        /// Which sizes.
        scale: Scale,
    },
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::Record,
            filter: None,
            sample: None,
            rate: None,
            pids: None,
            cgroup: None,
            limit: None,
            max_string: 128,
            stack: None,
            strings: Vec::new(),
            entries: 1 << 16,
            buffer: 8 << 20,
            single_step: false,
            nop_optimization: NopOptimization::detect(),
        }
    }
}
