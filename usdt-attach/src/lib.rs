//! Finds static probes (USDT) in files and running processes, attaches to them through eBPF, and returns their events.
//!
//! ```no_run
//! use std::time::Duration;
//! use usdt_attach::{Target, Tracer};
//!
//! # fn main() -> usdt_attach::Result<()> {
//! let mut tracer = Tracer::builder().target(Target::pid(42)?).probes(["app:request-*"]).attach()?;
//! while let Some(mut batch) = tracer.poll(Duration::from_secs(1))? {
//!     while let Some(event) = batch.next()? {
//!         println!("{}:{} {:?}", event.probe.provider, event.probe.name, event.arg("path"));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Tracer`] returns events; [`Aggregation`] returns counts, histograms and latencies that the kernel computes. Both are
//! `Send`, have one descriptor for an event loop of the caller's, and detach when dropped.
//!
//! # Modules
//!
//! A probe passes through `target -> discover -> plan -> backend -> session -> event`:
//!
//! * [`target`]: what to trace: processes, an executable, a cgroup, the host or a command; and following it.
//! * [`discover`]: objects (files that processes map), the probes in them, and selection by glob.
//! * [`plan`]: which instruction of each site to attach to, what to read there, and what to do with a hit. Data only.
//! * [`backend`]: carries out a plan: `embedded` (its own BPF code), `bcc` (C compiled by libbcc) or `simulated`.
//! * [`session`]: a plan that is attached, and the event loop that drains sessions and follows their target.
//! * [`event`]: decoded hits, counted rows, symbolized stacks, goroutines.
//!
//! They use [`filter`], the filter language; [`kernel`], feature detection, loading, links and event transports; and
//! [`error`].
//!
//! # Kernel and privileges
//!
//! Attaching needs Linux 5.8, `CAP_BPF` and `CAP_PERFMON`, and `CAP_SYS_PTRACE` for processes of other users. Newer
//! features are detected by trying them: from Linux 6.6 on, one link attaches to all sites of a file; before, each site has
//! a perf event, which needs `CAP_SYS_ADMIN`. Discovery and planning need only read access.
//!
//! # Threads and side effects
//!
//! Events are read on the thread that polls. Three operations start threads: a scan of the host ([`Target::host`]), which
//! joins them; [`Target::command`], whose thread waits until the program of the command runs; and attaching, whose thread
//! `usdt-warmup` ([`kernel::uprobe_warmup`]) ends after some milliseconds. A forked child that polls an inherited tracer
//! gets an error.
//!
//! Nothing prints, exits or handles signals. `PATH` is read to find a command and `usdt-attach-bcc`; no other variable is
//! read. On kernels before 5.11 that refuse a map or program for it, the limit on locked memory is raised for one call.
//!
//! # Features
//!
//! Both are off by default.
//!
//! * `tokio`: `AsyncTracer`, whose batches of events are awaited.
//! * `tracing`: events at debug level when a session attaches or is stopped and when a target runs new files, for a
//!   subscriber of the `tracing` crate.

/// Emits a `tracing` event at debug level where the feature is enabled; expands to nothing otherwise.
macro_rules! debug_event {
    ($($field:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::debug!($($field)*);
    };
}

pub mod backend;
mod bpf;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use bpf::codegen::compile_for_every_kernel;
pub mod discover;
pub mod error;
pub mod event;
pub mod filter;
pub mod kernel;
pub mod plan;
pub mod session;
pub mod target;
mod tracer;

pub use error::{Error, Result, Warning, WarningKind};
pub use filter::{Filter, Subject};
pub use target::{ProcessHandle, Target};
#[cfg(feature = "tokio")]
pub use tracer::AsyncTracer;
pub use tracer::{Aggregation, AggregationBuilder, Tracer, TracerBuilder};
