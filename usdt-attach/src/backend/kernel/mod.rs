//! The kernel's side of every back end: maps, program loading, links, the event buffer. System calls through
//! libbpf; the `unsafe` of this crate's BPF work is in this folder.

pub mod detect;
mod links;
mod load;
mod maps;
mod ring;

pub use links::Mechanism;
pub(crate) use links::{Attached, attach};
pub(crate) use maps::Maps;
pub use maps::{Counts, MapFds};
pub(crate) use ring::Ring;

use super::embedded::asm::Insn;

/// A program that a back end made, and the sites it serves.
pub(crate) struct Program {
    /// Cookies of the sites.
    pub(crate) cookies: Vec<u32>,
    /// Instructions, map file descriptors in place.
    pub(crate) code: Vec<Insn>,
}

/// libbpf writes to standard error on its own account; this library reports through its results.
pub(crate) fn silence_libbpf() {
    #[allow(unsafe_code)]
    // SAFETY: replaces a callback by none; libbpf allows that at any time.
    unsafe {
        libbpf_sys::libbpf_set_print(None);
    }
}
