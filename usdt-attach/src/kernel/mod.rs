//! The kernel interface: maps, program loading, links and event transports, and detection of what
//! this kernel and this process can do.
//!
//! `detect` uses `links`, `load`, `maps` and `exec_events` to try their features; none of them
//! depends on `detect`.

mod btf;
pub mod capabilities;
pub(crate) mod clock;
mod closing;
pub mod descriptors;
pub mod detect;
mod exec_events;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod hit_cost;
mod kernel_types;
mod linker_events;
mod links;
mod load;
pub(crate) mod mapped_inodes;
mod maps;
mod parent_check;
pub(crate) mod pid_namespace;
mod process_tree;
mod prog_stats;
pub mod site_changes;
pub(crate) mod transport;
pub mod uprobe_warmup;

pub(crate) use closing::Closing;
pub(crate) use exec_events::ExecEvents;
pub use hit_cost::measure_hit_costs;
pub(crate) use linker_events::LinkerEvents;
pub use links::Mechanism;
pub(crate) use links::{Attached, LinkMethod, attach};
pub use maps::Counts;
pub(crate) use maps::{Maps, RawEntry, create_map, read_entries};
pub use process_tree::{Forks, ProcessTree};
pub use prog_stats::BpfStatsGuard;
pub(crate) use prog_stats::run_time;
pub use site_changes::Link;
pub use transport::SharedRings;

#[cfg(test)]
mod tests {
    use super::transport::{CpuRingsReader, MappedRing, RecordReader, RingBuf};
    use super::*;

    #[test]
    fn handles_are_send_and_debug() {
        fn assert<T: Send + std::fmt::Debug + ?Sized>() {}
        assert::<Maps>();
        assert::<Attached>();
        assert::<ExecEvents>();
        assert::<BpfStatsGuard>();
        assert::<RingBuf>();
        assert::<MappedRing>();
        assert::<CpuRingsReader>();
        assert::<SharedRings>();
        assert::<dyn RecordReader>();
        assert::<crate::bpf::Map>();
    }
}
