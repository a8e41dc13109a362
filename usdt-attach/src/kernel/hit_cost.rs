//! Measuring the overhead of a hit on this machine, at sites in this program.
#![allow(unsafe_code)] // four assembly functions that return at once

use super::detect::link_method;
use super::links::{Attached, Mechanism, attach};
use super::load::small_program;
use crate::bpf::Program;
use crate::discover::{Object, process};
use crate::error::{Error, Result};
use crate::plan::{Method, Plan, PlannedObject, Site};
use stapsdt::site;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

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

/// Measures how many nanoseconds a hit takes with an empty BPF program, at a site with the given
/// instruction.
///
/// It attaches to a site in this program and calls it some thousand times, which takes
/// some tens of milliseconds.
///
/// # Errors
///
/// If this process may not attach, or if the kernel does not support it.
pub fn measure_hit_cost(method: Method) -> Result<f64> {
    /// The length in bytes of the comparison before the branch.
    const COMPARISON_LEN: u64 = if cfg!(target_arch = "aarch64") { 4 } else { 3 };
    let (function, distance, calls): (unsafe extern "C" fn(), u64, u32) = match method {
        Method::OptimizedNop10 => (usdt_attach_site, site::NOP10_OFFSET, 20_000),
        Method::OptimizedNop5 => (usdt_attach_site, site::NOP5_OFFSET, 20_000),
        Method::Nop => (usdt_attach_site, 0, 20_000),
        Method::Push => (usdt_attach_entry, 0, 20_000),
        Method::Branch => (usdt_attach_branch, COMPARISON_LEN, 20_000),
        Method::SingleStep => (usdt_attach_step, 0, 1_000),
    };
    let time_per_call = || {
        let begin = Instant::now();
        for _ in 0..calls {
            // SAFETY: the function returns at once and changes nothing.
            unsafe { function() };
        }
        begin.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    let without = time_per_call();
    let _attached = attach_to(function as usize as u64 + distance, method)?;
    // Warm-up: the kernel optimizes the site at its first hits.
    time_per_call();
    Ok((time_per_call() - without).max(0.0))
}

fn attach_to(address: u64, method: Method) -> Result<Attached> {
    let own = std::process::id();
    let not_found = || Error::unsupported("cannot find this program in /proc/self/maps");
    let mapped = process::mapped_ranges(own)?;
    let range =
        mapped.iter().find(|m| (m.start..m.end).contains(&address)).ok_or_else(not_found)?;
    let path = Path::new("/proc/self/exe");
    let site = Site {
        cookie: 0,
        probe: 0,
        handler: 0,
        address,
        offset: address - range.start + range.offset,
        semaphore_offset: None,
        method,
        stub: true,
    };
    let object = Arc::new(Object::open(path, path)?);
    let plan = Plan {
        objects: vec![PlannedObject {
            path: path.to_owned(),
            sites: vec![site],
            id: object.id,
            object: Some(object),
        }],
        pids: Some(vec![own]),
        ..Plan::default()
    };
    let empty = Program { cookies: vec![0], code: small_program(|_| {}), sleepable: false };
    attach(&plan, &[empty], link_method(Mechanism::Auto))
}
