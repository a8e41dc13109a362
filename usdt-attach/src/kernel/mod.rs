//! The kernel's side: maps, program loading, links, event transports, and what this kernel and this process can do.
//!
//! Detection stands above what it tries: `detect` uses `links`, `load`, `maps` and `exec_events`, which do not know it.

mod btf;
pub mod capabilities;
pub mod detect;
mod exec_events;
mod hit_cost;
mod links;
mod load;
mod maps;
mod prog_stats;
pub(crate) mod transport;
pub mod uprobe_warmup;

pub(crate) use exec_events::ExecEvents;
pub use hit_cost::measure_hit_cost;
pub use links::Mechanism;
pub(crate) use links::{Attached, LinkMethod, attach};
pub use maps::Counts;
pub(crate) use maps::{Maps, create_map, read_entries};
pub use prog_stats::BpfStatsGuard;
pub(crate) use prog_stats::run_time;

#[cfg(test)]
mod tests {
    use super::transport::{MappedRing, RecordReader, RingBuf};
    use super::*;

    #[test]
    fn everything_can_move_to_another_thread() {
        fn assert<T: Send + std::fmt::Debug + ?Sized>() {}
        assert::<Maps>();
        assert::<Attached>();
        assert::<ExecEvents>();
        assert::<BpfStatsGuard>();
        assert::<RingBuf>();
        assert::<MappedRing>();
        assert::<dyn RecordReader>();
        assert::<crate::bpf::Map>();
    }
}
