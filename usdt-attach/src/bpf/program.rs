//! Generated programs.

use super::asm::Insn;

/// A BPF program and the sites to which it is attached.
pub(crate) struct Program {
    /// The cookies of the sites, in ascending order.
    pub(crate) cookies: Vec<u32>,
    /// The instructions, which contain the file descriptors of the maps.
    pub(crate) code: Vec<Insn>,
    /// True if the program may sleep.
    pub(crate) sleepable: bool,
}
