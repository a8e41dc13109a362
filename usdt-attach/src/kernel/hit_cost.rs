//! Measuring the overhead of a hit on this machine, at sites in this program.
#![allow(unsafe_code)] // four assembly functions that return at once

use super::detect::link_method;
use super::links::{Attached, Mechanism, attach};
use super::load::small_program;
use crate::bpf::Program;
use crate::discover::{Object, process};
use crate::error::{Error, Result};
use crate::plan::{Method, Plan, PlannedObject, Site};
use rustix::time::{ClockId, clock_gettime};
use stapsdt::site;
use std::path::Path;
use std::sync::Arc;

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".balign 64",
    "usdt_attach_site:",
    ".byte 0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x0f, 0x1f, 0x44, 0, 0",
    "ret",
    ".balign 64",
    "usdt_attach_entry:",
    "push %rbp",
    "pop %rbp",
    "ret",
    ".balign 64",
    "usdt_attach_branch:",
    "test %rsp, %rsp",
    "jbe 1f",
    "1: ret",
    ".balign 64",
    "usdt_attach_step:",
    "mov %rax, %rax",
    "ret",
    options(att_syntax)
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".balign 64",
    "usdt_attach_site:",
    "nop",
    "ret",
    ".balign 64",
    "usdt_attach_entry:",
    "usdt_attach_branch:",
    "cmp sp, #0",
    "b.ls 1f",
    "1: ret",
    ".balign 64",
    "usdt_attach_step:",
    "stp x29, x30, [sp, #-16]!",
    "ldp x29, x30, [sp], #16",
    "ret"
);

unsafe extern "C" {
    fn usdt_attach_site();
    fn usdt_attach_entry();
    fn usdt_attach_branch();
    fn usdt_attach_step();
}

/// A function of this program with one instruction to attach to.
struct Measured {
    function: unsafe extern "C" fn(),
    /// Bytes from the function's start to the instruction.
    distance: u64,
    calls: u32,
}

impl Measured {
    fn of(method: Method) -> Measured {
        /// The length in bytes of the comparison before the branch.
        const COMPARISON_LEN: u64 = if cfg!(target_arch = "aarch64") { 4 } else { 3 };
        let (function, distance, calls): (unsafe extern "C" fn(), u64, u32) = match method {
            Method::OptimizedNop10 => (usdt_attach_site, site::NOP10_OFFSET, 5_000),
            Method::OptimizedNop5 => (usdt_attach_site, site::NOP5_OFFSET, 5_000),
            Method::Nop => (usdt_attach_site, 0, 5_000),
            Method::Push => (usdt_attach_entry, 0, 5_000),
            Method::Branch => (usdt_attach_branch, COMPARISON_LEN, 5_000),
            Method::SingleStep => (usdt_attach_step, 0, 500),
        };
        Measured { function, distance, calls }
    }

    fn address(&self) -> u64 {
        self.function as usize as u64 + self.distance
    }

    /// Returns the nanoseconds that a call takes. Time in which this thread has no CPU does not count.
    fn time_per_call(&self) -> f64 {
        let now = || {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
        };
        let begin = now();
        for _ in 0..self.calls {
            // SAFETY: the function returns at once and changes nothing.
            unsafe { (self.function)() };
        }
        (now() - begin) / f64::from(self.calls)
    }
}

/// Measures how many nanoseconds a hit takes with an empty BPF program, at sites with the given
/// instructions.
///
/// It attaches to sites in this program and calls each some thousand times, which takes
/// some tens of milliseconds. It detaches on a thread of its own, because that waits for the kernel
/// even longer; [`site_changes::stop`](super::site_changes::stop) waits for it.
///
/// # Errors
///
/// If this process may not attach, or if the kernel does not support it.
pub fn measure_hit_costs<const N: usize>(methods: [Method; N]) -> Result<[f64; N]> {
    let measured = methods.map(Measured::of);
    let without = measured.each_ref().map(Measured::time_per_call);
    let addresses = measured.each_ref().map(Measured::address);
    let attached = attach_to(addresses.into_iter().zip(methods))?;
    // Warm-up: the kernel optimizes a site at its first hits.
    let _ = measured.each_ref().map(Measured::time_per_call);
    let mut costs = measured.each_ref().map(Measured::time_per_call);
    costs.iter_mut().zip(without).for_each(|(with, without)| *with = (*with - without).max(0.0));
    // Without a thread, it is dropped here.
    let detach = move || drop(attached);
    let _ = std::thread::Builder::new().name("usdt-detach".into()).spawn(detach);
    Ok(costs)
}

/// Attaches an empty program to addresses of this process.
fn attach_to(addresses: impl Iterator<Item = (u64, Method)>) -> Result<Attached> {
    let own = std::process::id();
    let not_found = || Error::unsupported("cannot find this program in /proc/self/maps");
    let mapped = process::mapped_ranges(own)?;
    let mut sites = Vec::new();
    for (address, method) in addresses {
        let range =
            mapped.iter().find(|m| (m.start..m.end).contains(&address)).ok_or_else(not_found)?;
        sites.push(Site {
            cookie: 0,
            probe: 0,
            handler: 0,
            address,
            offset: address - range.start + range.offset,
            semaphore_offset: None,
            method,
            stub: true,
        });
    }
    let path = Path::new("/proc/self/exe");
    let object = Arc::new(Object::open(path, path)?);
    let plan = Plan {
        objects: vec![PlannedObject {
            path: path.to_owned(),
            sites,
            id: object.id,
            object: Some(object),
        }],
        pids: Some(vec![own]),
        ..Plan::default()
    };
    let empty = Program { cookies: vec![0], code: small_program(|_| {}), sleepable: false };
    attach(&plan, &[empty], link_method(Mechanism::Auto))
}
