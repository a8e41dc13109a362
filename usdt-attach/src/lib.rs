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
//! * [`target`]: processes, executables, cgroups, the host or a command.
//! * [`discover`]: objects (executables and libraries) and their probes, without attaching.
//! * [`event`]: decoded events, aggregated rows, symbolized stacks, goroutine snapshots.
//! * [`filter`]: the filter language.
//! * [`error`]: errors and warnings.
//!
//! The modules that the builders combine are hidden: `plan`, `backend`, `session` and `kernel`. They
//! are public for the command line and the exporter of this project, and semantic versioning does not
//! cover them.
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
//! * Attaching starts the thread `usdt-warmup`, which ends after a few milliseconds: the kernel is slow
//!   to register its first uprobe.
//!
//! A tracer that is inherited by a forked child returns an error when the child polls it.
//!
//! The library does not print, exit or handle signals. The only environment variable that it reads is
//! `PATH`, to find commands and `usdt-attach-bcc`. Before Linux 5.11, it may raise the limit on locked
//! memory while it creates a map or loads a program.
//!
//! # Descriptors
//!
//! A tracer holds up to six descriptors, and one for each object and process that it is attached to.
//! On kernels before 6.6 it holds up to two for each site instead. The library does not change the
//! limit on open files (`RLIMIT_NOFILE`): raise it before you trace a host. 192 descriptors, or a
//! quarter of a limit below 768, are left for the rest of the program. An object for which there is
//! none is reported as a [`Warning`], and attaching to it is tried again.
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

#[doc(hidden)]
pub mod backend;
mod bpf;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use bpf::codegen::compile_for_every_kernel;
pub mod discover;
pub mod error;
pub mod event;
pub mod filter;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod kernel;
#[doc(hidden)]
pub mod own_probes;
mod parallel;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub mod session;
pub mod target;
mod tracer;

#[doc(inline)]
pub use backend::{Backend, BackendKind};
pub use error::{Error, Result, Warning, WarningKind};
pub use filter::{Filter, Subject};
#[doc(inline)]
pub use plan::{Plan, Scale};
#[doc(inline)]
pub use session::{Batch, Summary};
pub use target::{ProcessHandle, Target};
#[cfg(feature = "tokio")]
pub use tracer::AsyncTracer;
pub use tracer::{Aggregation, AggregationBuilder, Tracer, TracerBuilder};
