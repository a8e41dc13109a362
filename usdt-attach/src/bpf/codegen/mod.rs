//! Code generation: compiles a plan to BPF instructions.
//!
//! One program serves all sites of a plan. The attach cookie is the number of the site that was
//! hit; a binary tree of comparisons selects the code of its handler. A handler is straight-line
//! code: it reads registers from `pt_regs` at constant offsets and copies adjacent stack slots at
//! once.
//!
//! # Registers
//!
//! `r6` to `r9` are preserved across helper calls and keep the state of the program:
//!
//! ```text
//! r6  CTX       the context, `struct pt_regs`
//! r7  BASE      the record or the frame
//! r8  COUNTERS  the counters of the site
//! r9  COOKIE    the attach cookie; once a handler is selected, the value that it aggregates
//! ```

mod action;
mod condition;
mod fault_in;
mod nesting;
pub(crate) mod pid_namespace;
mod publish;
mod reads;
mod record;
#[cfg(test)]
mod size;
#[cfg(test)]
mod tests;

use super::asm::{
    Assembler, Cond, Insn, JumpError, Label, R0, R1, R2, R3, R6, R7, R8, R9, R10, Reg, Width,
};
use super::helper;
use crate::bpf::{Counter, ExecutableOffsets, KernelFeatures, MapFds, PidNamespace, Program};
use crate::error::{Error, Result};
use crate::plan::pt_regs::CheckedFlags;
use crate::plan::{Handler, Plan, Site};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Number of leaves in the tree of a program at most. A leaf is a run of sites with the same
/// handler. Jumps reach 32,767 instructions, and a leaf takes two.
const MAX_LEAVES: usize = 4096;
/// Number of handlers in a program at most. A handler has up to a few hundred instructions.
const MAX_HANDLERS: usize = 32;

const CTX: Reg = R6;
const BASE: Reg = R7;
const COUNTERS: Reg = R8;
const COOKIE: Reg = R9;

/// Compiles a plan.
///
/// The result is one program, unless the plan is very large or the kernel has no attach cookies.
/// Without cookies each site has a program of its own.
pub(crate) fn compile(
    plan: &Plan,
    maps: &MapFds,
    features: KernelFeatures,
) -> Result<Vec<Program>> {
    let mut groups: Vec<Vec<&Site>> = Vec::new();
    let mut handlers: Vec<u32> = Vec::new();
    let mut leaves = 0;
    for site in plan.sites() {
        let starts_leaf =
            groups.last().and_then(|g| g.last()).is_none_or(|last| last.handler != site.handler);
        leaves += usize::from(starts_leaf);
        let fits = features.cookies
            && !groups.is_empty()
            && leaves <= MAX_LEAVES
            && (handlers.contains(&site.handler) || handlers.len() < MAX_HANDLERS);
        if !fits {
            groups.push(Vec::new());
            handlers.clear();
            leaves = 1;
        }
        if !handlers.contains(&site.handler) {
            handlers.push(site.handler);
        }
        if let Some(group) = groups.last_mut() {
            group.push(site);
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let cookies = group.iter().map(|s| s.cookie).collect();
            let code = program(plan, maps, &group, features).map_err(|JumpError| {
                Error::unsupported("the plan is too large for a BPF program; select fewer probes")
            })?;
            Ok(Program { cookies, code, sleepable: features.sleepable })
        })
        .collect()
}

/// Compiles a prologue that limits a user's program to the traced processes. The program is
/// appended to it.
pub(crate) fn filter_prologue(
    plan: &Plan,
    maps: &MapFds,
    pid_namespace: Option<PidNamespace>,
    executable: Option<ExecutableOffsets>,
) -> Result<Vec<Insn>> {
    let mut asm = Assembler::default();
    let (done, is_traced) = (asm.label(), asm.label());
    let features = KernelFeatures { pid_namespace, executable, ..KernelFeatures::default() };
    let mut emitter = Emitter { asm, maps, plan, features, done, filtered: done, dropped: done };
    emitter.asm.mov(CTX, R1);
    emitter.load_ids();
    emitter.check_process();
    emitter.check_namespace(done);
    emitter.asm.jump(is_traced);
    emitter.asm.place(done);
    emitter.asm.mov_imm(R0, 0);
    emitter.asm.exit();
    emitter.asm.place(is_traced);
    emitter.asm.mov(R1, CTX);
    emitter.asm.finish_prologue().map_err(|JumpError| {
        Error::unsupported("too many processes for a BPF program; trace fewer")
    })
}

/// Compiles a plan for the oldest and the newest kernels, for fuzz targets.
#[cfg(fuzzing)]
pub fn compile_for_every_kernel(plan: &Plan) -> Result<()> {
    let maps = MapFds {
        events: 3,
        wakeup: 4,
        counters: 5,
        control: 6,
        rates: 7,
        table: 8,
        zero: 9,
        starts: 10,
        nested: 12,
        cgroup: 11,
        processes: 12,
        executables: 13,
    };
    let newest = KernelFeatures {
        cookies: true,
        transport: super::Transport::MappedRing,
        atomics: true,
        preemption: Some(super::PreemptionFunctions { disable: 100, enable: 101 }),
        task: Some(super::TaskStructOffsets { comm: 3000, pid: 2000, tgid: 2004 }),
        sleepable: true,
        pid_namespace: None,
        executable: Some(super::ExecutableOffsets { mm: 1000, file: 900, inode: 32 }),
    };
    let in_namespace = KernelFeatures { pid_namespace: Some(pid_namespace::SAMPLE), ..newest };
    for features in [KernelFeatures::default(), newest, in_namespace] {
        compile(plan, &maps, features)?;
    }
    Ok(())
}

/// Compiles the program for some of the sites.
fn program(
    plan: &Plan,
    maps: &MapFds,
    sites: &[&Site],
    features: KernelFeatures,
) -> std::result::Result<Vec<Insn>, JumpError> {
    let mut asm = Assembler::default();
    let (done, filtered, dropped) = (asm.label(), asm.label(), asm.label());
    let mut emitter = Emitter { asm, maps, plan, features, done, filtered, dropped };
    emitter.asm.mov(CTX, R1);
    emitter.load_ids();
    emitter.check_process();
    let asm = &mut emitter.asm;
    match sites {
        [site] => asm.mov_imm64(COOKIE, site.cookie.into()),
        _ => {
            asm.mov(R1, CTX);
            asm.call(helper::GET_ATTACH_COOKIE);
            asm.mov(COOKIE, R0);
        }
    }
    if plan.limit.is_some() {
        // Once the limit is reached, hits are not even counted.
        asm.map_value(R1, maps.control);
        asm.load(Width::Dw, R1, R1, 0);
        asm.jump_if(Cond::Sle, R1, 0, done);
    }
    asm.store(Width::W, R10, -4, COOKIE);
    asm.map(R1, maps.counters);
    asm.mov(R2, R10);
    asm.add_imm(R2, -4);
    asm.call(helper::MAP_LOOKUP_ELEM);
    asm.jump_if(Cond::Eq, R0, 0, done);
    asm.mov(COUNTERS, R0);
    let outside = emitter.asm.label();
    let may_be_outside = emitter.check_namespace(outside);
    emitter.count(Counter::Hits);
    emitter.dispatch(sites)?;
    if may_be_outside {
        emitter.asm.place(outside);
        emitter.count(Counter::Outside);
        emitter.asm.jump(done);
    }
    emitter.exits();
    emitter.asm.finish()
}

/// A leaf of the tree that selects a handler: a run of consecutive cookies.
#[derive(Clone, Copy)]
struct Leaf {
    first_cookie: u32,
    /// Index of the handler of all sites in the run.
    handler: u32,
}

/// The state of compiling one program.
struct Emitter<'a> {
    asm: Assembler,
    maps: &'a MapFds,
    plan: &'a Plan,
    features: KernelFeatures,
    /// Ends the program.
    done: Label,
    /// Counts the hit as filtered and ends the program.
    filtered: Label,
    /// Counts the hit as dropped and ends the program.
    dropped: Label,
}

impl Emitter<'_> {
    /// Ends the program unless the process is traced. The link filters by process, too, if the
    /// kernel supports that.
    fn check_process(&mut self) {
        if self.plan.children.is_some() {
            self.ids();
            let asm = &mut self.asm;
            asm.shr(R0, 32);
            asm.store(Width::W, R10, -4, R0);
            asm.map(R1, self.maps.processes);
            asm.mov(R2, R10);
            asm.add_imm(R2, -4);
            asm.call(helper::MAP_LOOKUP_ELEM);
            asm.jump_if(Cond::Eq, R0, 0, self.done);
        } else if let Some(pids) = &self.plan.pids {
            self.ids();
            let asm = &mut self.asm;
            let is_traced = asm.label();
            asm.shr(R0, 32);
            for pid in pids {
                asm.jump_if(Cond::Eq, R0, *pid as i32, is_traced);
            }
            asm.jump(self.done);
            asm.place(is_traced);
        }
        if self.plan.cgroup.is_some() {
            let asm = &mut self.asm;
            asm.map(R1, self.maps.cgroup);
            asm.mov_imm(R2, 0);
            asm.call(helper::CURRENT_TASK_UNDER_CGROUP);
            asm.jump_if(Cond::Ne, R0, 1, self.done);
        }
        if let (Some(_), Some(offsets)) = (&self.plan.executables, self.features.executable) {
            let asm = &mut self.asm;
            asm.call(helper::GET_CURRENT_TASK_BTF);
            for offset in [offsets.mm, offsets.file, offsets.inode] {
                asm.load(Width::Dw, R0, R0, offset);
            }
            asm.store(Width::Dw, R10, -8, R0);
            asm.map(R1, self.maps.executables);
            asm.mov(R2, R10);
            asm.add_imm(R2, -8);
            asm.call(helper::MAP_LOOKUP_ELEM);
            asm.jump_if(Cond::Eq, R0, 0, self.done);
        }
    }

    /// Increments a counter. Counters are per CPU, but another hit on the same CPU can preempt a
    /// uprobe program, so the increment is atomic.
    fn count(&mut self, counter: Counter) {
        self.asm.mov_imm(R1, 1);
        self.asm.atomic_add(COUNTERS, counter.offset(), R1);
    }

    /// The ends of the program, to which handlers jump.
    fn exits(&mut self) {
        self.asm.place(self.filtered);
        self.count(Counter::Filtered);
        self.asm.jump(self.done);
        self.asm.place(self.dropped);
        self.count(Counter::Dropped);
        self.asm.place(self.done);
        self.asm.mov_imm(R0, 0);
        self.asm.exit();
    }

    /// Jumps to the handler of the site. Consecutive cookies with the same handler are one leaf of
    /// the tree.
    fn dispatch(&mut self, sites: &[&Site]) -> std::result::Result<(), JumpError> {
        let mut leaves: Vec<Leaf> = Vec::new();
        for site in sites {
            if leaves.last().is_none_or(|leaf| leaf.handler != site.handler) {
                leaves.push(Leaf { first_cookie: site.cookie, handler: site.handler });
            }
        }
        let mut labels: BTreeMap<u32, Label> = BTreeMap::new();
        let mut order: Vec<u32> = Vec::new();
        for leaf in &leaves {
            if let Entry::Vacant(entry) = labels.entry(leaf.handler) {
                entry.insert(self.asm.label());
                order.push(leaf.handler);
            }
        }
        self.tree(&leaves, &labels)?;
        for index in order {
            self.asm.place(*labels.get(&index).ok_or(JumpError)?);
            let handler = self.plan.handlers.get(index as usize).ok_or(JumpError)?;
            self.handler(handler);
            self.asm.jump(self.done);
        }
        Ok(())
    }

    /// Compares the cookie with the middle of the leaves, recursively, and jumps to the handler of
    /// the leaf.
    fn tree(
        &mut self,
        leaves: &[Leaf],
        labels: &BTreeMap<u32, Label>,
    ) -> std::result::Result<(), JumpError> {
        if let [leaf] = leaves {
            self.asm.jump(*labels.get(&leaf.handler).ok_or(JumpError)?);
            return Ok(());
        }
        let (lower, upper) = leaves.split_at(leaves.len() / 2);
        let first_upper = upper.first().ok_or(JumpError)?.first_cookie;
        let right = self.asm.label();
        self.asm.jump_if(
            Cond::Ge,
            COOKIE,
            i32::try_from(first_upper).map_err(|_| JumpError)?,
            right,
        );
        self.tree(lower, labels)?;
        self.asm.place(right);
        self.tree(upper, labels)
    }

    /// Compiles a handler. A hit of a call frame that is not taken removes the start of the frame.
    fn handler(&mut self, handler: &Handler) {
        let Some(key) = handler.action.frame_key() else {
            self.handle(handler);
            return;
        };
        let (filtered, dropped) = (self.filtered, self.dropped);
        (self.filtered, self.dropped) = (self.asm.label(), self.asm.label());
        self.handle(handler);
        self.asm.jump(self.done);
        for (label, outcome) in [(self.filtered, filtered), (self.dropped, dropped)] {
            self.asm.place(label);
            self.fill(key);
            self.map_and_key(self.maps.starts, key);
            self.asm.call(helper::MAP_DELETE_ELEM);
            self.asm.jump(outcome);
        }
        (self.filtered, self.dropped) = (filtered, dropped);
    }

    /// Compiles what a handler does: reads, filter, limits, action.
    fn handle(&mut self, handler: &Handler) {
        if handler.stack_check {
            self.check_branch_not_taken();
        }
        let frame = &handler.frame;
        if frame.size > 0 {
            self.asm.mov(BASE, R10);
            self.asm.add_imm(BASE, -(frame.size as i32));
            self.asm.store_imm(Width::Dw, BASE, 0, 0);
            self.read_all(&frame.filter_reads, reads::Base::Frame);
        }
        if let Some(condition) = &handler.filter {
            let passed = self.asm.label();
            self.condition(condition, passed, self.filtered);
            self.asm.place(passed);
        }
        if handler.action.is_sampled() {
            self.sample();
        }
        self.rate(handler);
        self.limit();
        self.action(handler);
    }

    /// Ends the program and uncounts the hit if the branch of the stack check at the site is taken.
    fn check_branch_not_taken(&mut self) {
        let flags = CheckedFlags::NATIVE;
        let asm = &mut self.asm;
        let not_taken = asm.label();
        asm.load(Width::Dw, R1, CTX, flags.offset);
        asm.and_imm(R1, flags.mask);
        asm.jump_if(Cond::Eq, R1, flags.not_taken, not_taken);
        self.uncount_hit();
        self.asm.place(not_taken);
    }

    /// Decrements the number of hits and ends the program, as if the hit had not happened.
    fn uncount_hit(&mut self) {
        self.asm.mov_imm(R1, -1);
        self.asm.atomic_add(COUNTERS, Counter::Hits.offset(), R1);
        self.asm.jump(self.done);
    }

    /// Takes one hit in N. The choice is random, so that no pattern in the traced program can bias
    /// the sample.
    fn sample(&mut self) {
        let Some(every) = self.plan.sample else { return };
        self.asm.call(helper::GET_PRANDOM_U32);
        let share = (u64::from(u32::MAX) + 1) / u64::from(every.max(1));
        self.asm.mov_imm64(R1, share as i64);
        self.asm.jump_if_reg(Cond::Ge, R0, R1, self.filtered);
    }

    /// Takes up to N hits per second.
    ///
    /// A 64-bit word per probe has the current second in its upper half and the number of hits in
    /// that second in its lower half. A hit that finds an older second starts a new one by a
    /// compare-and-exchange. A hit that loses this race is filtered, so that never more than N
    /// pass. Without atomic operations that return the old value, hits that race on several CPUs
    /// may pass together.
    fn rate(&mut self, handler: &Handler) {
        let (Some(most), Some(slot)) = (self.plan.rate, handler.rate) else { return };
        let (full, passed) = (self.filtered, self.asm.label());
        let asm = &mut self.asm;
        let other_second = asm.label();
        asm.call(helper::KTIME_GET_NS);
        asm.div_imm(R0, 1_000_000_000);
        asm.map_value_at(R1, self.maps.rates, slot as i32 * 8);
        if !self.features.atomics {
            asm.load(Width::Dw, R2, R1, 0);
            asm.mov(R3, R2);
            asm.shr(R3, 32);
            asm.jump_if_reg(Cond::Eq, R3, R0, other_second);
            asm.mov(R2, R0);
            asm.shl(R2, 32);
            asm.store(Width::Dw, R1, 0, R2);
            asm.place(other_second);
            asm.shl(R2, 32);
            asm.shr(R2, 32);
            asm.mov_imm64(R3, i64::from(most));
            asm.jump_if_reg(Cond::Ge, R2, R3, full);
            asm.mov_imm(R2, 1);
            asm.atomic_add(R1, 0, R2);
            return;
        }
        asm.mov_imm(R2, 1);
        asm.atomic_fetch_add(R1, 0, R2);
        asm.mov(R3, R2);
        asm.shr(R3, 32);
        asm.jump_if_reg(Cond::Ne, R3, R0, other_second);
        asm.shl(R2, 32);
        asm.shr(R2, 32);
        asm.mov_imm64(R3, i64::from(most));
        asm.jump_if_reg(Cond::Ge, R2, R3, full);
        asm.jump(passed);
        asm.place(other_second);
        asm.mov(R3, R0);
        asm.shl(R3, 32);
        asm.or_imm(R3, 1);
        asm.add_imm(R2, 1);
        asm.mov(R0, R2);
        asm.compare_exchange(R1, 0, R3);
        asm.jump_if_reg(Cond::Ne, R0, R2, full);
        asm.place(passed);
    }

    /// Decrements the number of hits left. If another CPU has taken the last one meanwhile, the hit
    /// is taken back.
    fn limit(&mut self) {
        if self.plan.limit.is_none() {
            return;
        }
        let asm = &mut self.asm;
        let left = asm.label();
        asm.map_value(R1, self.maps.control);
        asm.mov_imm(R2, -1);
        if !self.features.atomics {
            // The session discards records beyond the limit.
            asm.atomic_add(R1, 0, R2);
            return;
        }
        asm.atomic_fetch_add(R1, 0, R2);
        asm.jump_if(Cond::Sgt, R2, 0, left);
        self.uncount_hit();
        self.asm.place(left);
    }
}
