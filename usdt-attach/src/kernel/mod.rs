//! The kernel's side: maps, program loading, links, event transports, and what this kernel and this process can do.
//! System calls through libbpf; the `unsafe` of this crate's BPF work is in this folder.

mod btf;
pub mod capabilities;
mod context;
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
pub(crate) use links::{Attached, attach};
pub use maps::Counts;
pub(crate) use maps::{Maps, create_map, read_table};
pub use prog_stats::BpfStatsGuard;
pub(crate) use prog_stats::run_time;

/// libbpf writes to standard error on its own account; this library reports through its results.
pub(crate) fn silence_libbpf() {
    #[allow(unsafe_code)]
    // SAFETY: replaces a callback by none; libbpf allows that at any time.
    unsafe {
        libbpf_sys::libbpf_set_print(None);
    }
}
