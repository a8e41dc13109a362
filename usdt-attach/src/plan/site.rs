//! Which instruction of a site to attach to: the NOP that this kernel handles fastest.
#![allow(unsafe_code)] // one system call without arguments

use serde::Serialize;
use stapsdt::site::{self, Instruction};

/// How the kernel makes a probe on a NOP cheaper than a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NopOptimization {
    /// Every probe traps.
    None,
    /// Five-byte NOPs become calls (Linux 6.18).
    Nop5,
    /// Ten-byte NOPs become calls, and five-byte ones no longer do (later kernels).
    Nop10,
}

impl NopOptimization {
    /// Asks the running kernel: the `uprobe` system call, made outside its trampoline, fails with an error that tells.
    pub fn detect() -> NopOptimization {
        #[cfg(target_arch = "x86_64")]
        {
            const SYS_UPROBE: libc::c_long = 336;
            // SAFETY: takes no arguments; outside the trampoline it only fails.
            let code = unsafe { libc::syscall(SYS_UPROBE) };
            if code == -1 {
                return match std::io::Error::last_os_error().raw_os_error() {
                    Some(libc::ENXIO) => NopOptimization::Nop5,
                    Some(libc::EPROTO) => NopOptimization::Nop10,
                    _ => NopOptimization::None,
                };
            }
        }
        NopOptimization::None
    }
}

/// One address to attach to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Number of the site in the whole plan; the kernel returns it with each hit.
    pub cookie: u32,
    /// Index of its probe in the plan.
    pub probe: u32,
    /// Index of what is done with its hits; sites that do the same share one.
    pub handler: u32,
    /// Link-time address in the note, at or a few bytes before what is attached to.
    #[serde(skip)]
    pub address: u64,
    /// File offset attached to.
    pub offset: u64,
    /// File offset of the semaphore.
    pub semaphore_offset: Option<u64>,
    /// The instruction chosen, and why.
    pub method: Method,
    /// Whether the site is a stub function, which is skipped when symbolizing stacks.
    pub stub: bool,
}

/// What is attached to at a site, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The site's ten-byte NOP: the kernel calls instead of trapping.
    OptimizedNop10,
    /// The site's five-byte NOP: the kernel calls instead of trapping.
    OptimizedNop5,
    /// A NOP: one trap.
    Nop,
    /// A push that the kernel does itself: one trap.
    Push,
    /// A conditional branch that the kernel does itself: one trap.
    Branch,
    /// Another instruction: a trap and a single step, tens of times slower.
    SingleStep,
}

/// The cheapest instruction of the site that this kernel takes, and its distance from the note's address.
pub(super) fn attach_method(
    generated: bool,
    instruction: Instruction,
    address: u64,
    nop_optimization: NopOptimization,
) -> (Method, u64) {
    const PAGE: u64 = 4096;
    let within_page = |distance: u64, length: u64| {
        let start = address.wrapping_add(distance);
        start / PAGE == start.wrapping_add(length - 1) / PAGE
    };
    let nop10 = within_page(site::NOP10_OFFSET, 10);
    let nop5 = within_page(site::NOP5_OFFSET, 5);
    match (instruction, nop_optimization) {
        (_, NopOptimization::Nop10) if generated && cfg!(target_arch = "x86_64") && nop10 => {
            (Method::OptimizedNop10, site::NOP10_OFFSET)
        }
        (_, NopOptimization::Nop5) if generated && cfg!(target_arch = "x86_64") && nop5 => {
            (Method::OptimizedNop5, site::NOP5_OFFSET)
        }
        (Instruction::Nop, _) => (Method::Nop, 0),
        (Instruction::Push, _) => (Method::Push, 0),
        (Instruction::Branch, _) => (Method::Branch, 0),
        (Instruction::Other, _) => (Method::SingleStep, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn chooses_the_cheapest_instruction_that_is_safe() {
        let choose = |generated, nop_optimization, address| {
            attach_method(generated, Instruction::Nop, address, nop_optimization)
        };
        assert_eq!(choose(true, NopOptimization::None, 0x1000), (Method::Nop, 0));
        assert_eq!(choose(true, NopOptimization::Nop5, 0x1000), (Method::OptimizedNop5, 11));
        assert_eq!(choose(true, NopOptimization::Nop10, 0x1000), (Method::OptimizedNop10, 1));
        assert_eq!(
            choose(false, NopOptimization::Nop5, 0x1000),
            (Method::Nop, 0),
            "C code may use its red zone"
        );
        assert_eq!(
            choose(true, NopOptimization::Nop5, 0x1ff2),
            (Method::Nop, 0),
            "the nop5 crosses a page"
        );
        assert_eq!(
            attach_method(false, Instruction::Other, 0x1000, NopOptimization::Nop5),
            (Method::SingleStep, 0)
        );
    }
}
