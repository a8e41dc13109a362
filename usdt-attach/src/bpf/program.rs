//! A program and the sites it serves.

use super::asm::Insn;

/// A program, and the sites it serves.
pub(crate) struct Program {
    /// Cookies of the sites, in ascending order.
    pub(crate) cookies: Vec<u32>,
    /// Instructions, map file descriptors in place.
    pub(crate) code: Vec<Insn>,
}
