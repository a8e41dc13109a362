//! Finds static probes (USDT) and enables them: `discover -> plan -> backend -> session -> event`.
//!
//! Nothing here prints, exits, or reads the command line; `usdt-attach-cli` is one more caller.

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
