//! Finds static probes (USDT) in files and running processes, attaches to them with eBPF, and returns
//! the events of their hits.
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
//! Start with one of these types:
//!
//! * [`Tracer`] returns an event for each hit.
//! * [`Aggregation`] returns counts, histograms and latencies that the kernel computes.
//!
//! Both are `Send`, detach when dropped, and have a descriptor that your event loop can wait for.
//!
//! # Modules
//!
//! The builders combine the following modules, which are public for programs that need more control.
//! Tracing passes through them in this order:
//!
//! * [`target`]: processes, executables, cgroups, the host or a command; following them.
//! * [`discover`]: objects (executables and libraries), their probes, and selection by glob.
//! * [`plan`]: which instruction of each site to attach to, what to read there, and what to do with a
//!   hit. A plan is data; making one needs no privileges.
//! * [`backend`]: attaches a plan with generated BPF code (`embedded`), with C that libbcc compiles
//!   (`bcc`), or without a kernel (`simulated`).
//! * [`session`]: attached plans, and the event loop that drains them and follows their target.
//! * [`event`]: decoded events, aggregated rows, symbolized stacks, goroutine snapshots.
//!
//! They share [`filter`] (the filter language), [`kernel`] (features, capabilities, hit cost) and
//! [`error`].
//!
//! # Kernel and privileges
//!
//! Attaching needs Linux 5.8, `CAP_BPF` and `CAP_PERFMON`. Processes of other users also need
//! `CAP_SYS_PTRACE`. Discovery and planning need only read access to the files.
//!
//! Newer kernel features are detected at run time. From Linux 6.6, one link attaches to every site of
//! an object. On older kernels each site needs a perf event, which requires `CAP_SYS_ADMIN`.
//!
//! # Threads and side effects
//!
//! Events are read on the thread that polls. Three operations start threads:
//!
//! * A scan of the host ([`Target::host`]) joins its threads before it returns.
//! * [`Target::command`] starts a thread that ends when the command executes its program.
//! * Attaching starts the thread `usdt-warmup` ([`kernel::uprobe_warmup`]), which ends after a few
//!   milliseconds.
//!
//! A tracer that is inherited by a forked child returns an error when the child polls it.
//!
//! The library does not print, exit or handle signals. The only environment variable that it reads is
//! `PATH`, to find commands and `usdt-attach-bcc`. Before Linux 5.11, it may raise the limit on locked
//! memory while it creates a map or loads a program.
//!
//! # Features
//!
//! Both features are disabled by default.
//!
//! * `tokio`: adds `AsyncTracer`, whose batches of events can be awaited.
//! * `tracing`: emits debug events through the `tracing` crate when a session attaches or detaches,
//!   and when a target runs new objects.

/// Emits a `tracing` event at debug level. Expands to nothing if the feature is disabled.
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
