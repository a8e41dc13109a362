//! Finds static probes (USDT) and enables them: `discover -> plan -> backend -> session -> event`.
//!
//! Nothing here prints, exits, or reads the command line; `usdt-attach-cli` is one more caller.

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
pub use bpf::codegen::emit_for_every_kernel;
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
