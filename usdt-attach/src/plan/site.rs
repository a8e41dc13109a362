//! Choosing the instruction of a site to attach to: the one that this kernel handles fastest.
//!
//! A site that usdt-gen generated for x86-64 has three NOPs: of one, ten and five bytes. Sites of
//! libbpf's `usdt.h` have the first two. Kernels can turn one of the longer ones into a call, which
//! is several times faster than the trap that a uprobe takes otherwise.
#![allow(unsafe_code)] // one system call without arguments

use crate::discover::Probe;
use serde::Serialize;
use stapsdt::site::{self, Instruction};

/// Which NOPs a kernel optimizes: it replaces them with a call instead of a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NopOptimization {
    /// None: every probe traps. So do all kernels on arm64.
    None,
    /// Five-byte NOPs (since Linux 6.18).
    Nop5,
    /// Ten-byte NOPs and no longer five-byte ones (kernels after 6.18).
    Nop10,
}

impl NopOptimization {
    /// Returns what the running kernel does.
    ///
    /// The `uprobe` system call fails when it is not made from the kernel's trampoline. Its error
    /// number tells the kinds of kernels apart.
    pub fn detect() -> NopOptimization {
        #[cfg(target_arch = "x86_64")]
        {
            const SYS_UPROBE: libc::c_long = 336;
            // SAFETY: the call takes no arguments and does nothing but fail outside the trampoline.
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

/// A place in a file to attach to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// The number of the site in its plan, from 0. It is the attach cookie, by which BPF programs
    /// know the site of a hit.
    pub cookie: u32,
    /// Index of the site's probe in [`Plan::probes`](super::Plan::probes).
    pub probe: u32,
    /// Index of the site's handler in the plan; sites that do the same share one.
    pub(crate) handler: u32,
    /// The address in the note, as linked. The instruction attached to is there or a few bytes
    /// after it.
    #[serde(skip)]
    pub(crate) address: u64,
    /// The file offset of the instruction attached to.
    pub offset: u64,
    /// The file offset of the semaphore, which the kernel increments while attached (Linux 4.20);
    /// `None` if there is none.
    pub semaphore_offset: Option<u64>,
    /// The kind of instruction attached to, which determines the cost per hit.
    pub method: Method,
    /// True if usdt-gen generated the site as a stub function, which stacks do not show.
    pub stub: bool,
}

/// The kind of instruction attached to at a site, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The ten-byte NOP of a generated site or one of libbpf's `usdt.h`, which the kernel replaces
    /// with a call.
    OptimizedNop10,
    /// The five-byte NOP of a generated site, which the kernel replaces with a call.
    OptimizedNop5,
    /// A NOP; a hit traps once.
    Nop,
    /// A push, which the kernel emulates; a hit traps once.
    Push,
    /// A conditional branch, which the kernel emulates; a hit traps once.
    Branch,
    /// Another instruction, which the kernel single-steps; a hit takes tens of times longer.
    SingleStep,
}

/// An instruction of a site that can be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttachPoint {
    pub(super) method: Method,
    /// Distance in bytes from the address in the note.
    pub(super) distance: u64,
}

/// Returns the cheapest instruction of the probe's site that the kernel supports.
///
/// The five-byte NOP is used in generated sites only: the call that replaces it writes below the
/// stack pointer, where C code may keep data. A NOP that crosses a page boundary is not used,
/// because the kernel cannot replace it atomically.
pub(super) fn cheapest_attach_point(
    probe: &Probe,
    nop_optimization: NopOptimization,
) -> AttachPoint {
    const PAGE: u64 = 4096;
    let within_page = |distance: u64, length: u64| {
        let start = probe.address.wrapping_add(distance);
        start / PAGE == start.wrapping_add(length - 1) / PAGE
    };
    let is_x86 = cfg!(target_arch = "x86_64");
    let has_nop10 = is_x86 && probe.has_nop10 && within_page(site::NOP10_OFFSET, 10);
    let has_nop5 = is_x86 && probe.generated && within_page(site::NOP5_OFFSET, 5);
    let (method, distance) = match (probe.instruction, nop_optimization) {
        (_, NopOptimization::Nop10) if has_nop10 => (Method::OptimizedNop10, site::NOP10_OFFSET),
        (_, NopOptimization::Nop5) if has_nop5 => (Method::OptimizedNop5, site::NOP5_OFFSET),
        (Instruction::Nop, _) => (Method::Nop, 0),
        (Instruction::Push, _) => (Method::Push, 0),
        (Instruction::Branch, _) => (Method::Branch, 0),
        (Instruction::Other, _) => (Method::SingleStep, 0),
    };
    AttachPoint { method, distance }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::sample;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn prefers_an_optimized_nop_within_a_page() {
        let choose = |generated, has_nop10, nop_optimization, address| {
            let probe = Probe { generated, has_nop10, address, ..sample::probe("") };
            let point = cheapest_attach_point(&probe, nop_optimization);
            (point.method, point.distance)
        };
        let of_generated = |nop, address| choose(true, true, nop, address);
        assert_eq!(of_generated(NopOptimization::None, 0x1000), (Method::Nop, 0));
        assert_eq!(of_generated(NopOptimization::Nop5, 0x1000), (Method::OptimizedNop5, 11));
        assert_eq!(of_generated(NopOptimization::Nop10, 0x1000), (Method::OptimizedNop10, 1));
        assert_eq!(
            of_generated(NopOptimization::Nop5, 0x1ff2),
            (Method::Nop, 0),
            "the nop5 crosses a page"
        );
        let of_libbpf = |nop, address| choose(false, true, nop, address);
        assert_eq!(of_libbpf(NopOptimization::Nop10, 0x1000), (Method::OptimizedNop10, 1));
        assert_eq!(
            of_libbpf(NopOptimization::Nop5, 0x1000),
            (Method::Nop, 0),
            "C code may use its red zone"
        );
        assert_eq!(
            of_libbpf(NopOptimization::Nop10, 0x1ff8),
            (Method::Nop, 0),
            "the nop10 crosses a page"
        );
        for nop_optimization in [NopOptimization::Nop5, NopOptimization::Nop10] {
            assert_eq!(choose(false, false, nop_optimization, 0x1000), (Method::Nop, 0));
        }
        let probe = Probe {
            instruction: Instruction::Other,
            generated: false,
            has_nop10: false,
            ..sample::probe("")
        };
        let point = cheapest_attach_point(&probe, NopOptimization::Nop5);
        assert_eq!(point, AttachPoint { method: Method::SingleStep, distance: 0 });
    }
}
