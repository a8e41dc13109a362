//! A plan as BPF instructions.
//!
//! One program serves all sites of a plan: the attach cookie says which one was hit and selects, by a tree of
//! comparisons, the code of its handler. Everything on the way is straight-line: registers come from `pt_regs` at
//! constant offsets, adjacent stack slots in one copy, and every hit runs only what its handler needs.

mod action;
mod condition;
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
use crate::bpf::{Counter, KernelFeatures, MapFds, Program};
use crate::error::{Error, Result};
use crate::plan::{Handler, Plan, Site, pt_regs};

/// Runs of sites with one handler that a program tells apart: jumps reach 32,767 instructions, a handler has at most
/// a few hundred.
const LEAVES_PER_PROGRAM: usize = 4096;
/// Handlers one program holds, for the same reason.
const HANDLERS_PER_PROGRAM: usize = 32;

/// Registers that live through the whole program.
const CTX: Reg = R6;
/// The record, or the frame on the stack.
const BASE: Reg = R7;
const COUNTERS: Reg = R8;
/// In what aggregates, the value once the handler is chosen.
const COOKIE: Reg = R9;

/// The programs of a plan, each with the cookies of the sites it is for. One, unless the plan is huge or the kernel
/// has no cookies to tell sites apart.
pub(crate) fn compile(
    plan: &Plan,
    maps: &MapFds,
    features: KernelFeatures,
) -> Result<Vec<Program>> {
    let mut groups: Vec<Vec<&Site>> = Vec::new();
    let mut handlers: Vec<u32> = Vec::new();
    let mut leaves = 0;
    for site in plan.sites() {
        let leaf =
            groups.last().and_then(|g| g.last()).is_none_or(|last| last.handler != site.handler);
        leaves += usize::from(leaf);
        let fits = features.cookies
            && !groups.is_empty()
            && leaves <= LEAVES_PER_PROGRAM
            && (handlers.contains(&site.handler) || handlers.len() < HANDLERS_PER_PROGRAM);
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
            // Groups are small enough for every jump; should one not be, nothing is attached.
            let code = program(plan, maps, &group, features).map_err(|JumpError| {
                Error::unsupported("the plan is too large for one kernel program")
            })?;
            Ok(Program { cookies, code })
        })
        .collect()
}

/// What comes in front of a program that knows nothing of the plan: it goes on, with its context in place, for the
/// chosen processes only.
pub(crate) fn filter_prologue(plan: &Plan, maps: &MapFds) -> Result<Vec<Insn>> {
    let mut asm = Assembler::default();
    let (done, wanted) = (asm.label(), asm.label());
    let features = KernelFeatures::default();
    let mut emitter = Emitter { asm, maps, plan, features, done, filtered: done, dropped: done };
    emitter.asm.mov(CTX, R1);
    emitter.only_chosen_processes();
    emitter.asm.jump(wanted);
    emitter.asm.place(done);
    emitter.asm.mov_imm(R0, 0);
    emitter.asm.exit();
    emitter.asm.place(wanted);
    emitter.asm.mov(R1, CTX);
    emitter
        .asm
        .finish_prologue()
        .map_err(|JumpError| Error::unsupported("too many processes for one kernel program"))
}

/// Emits a plan for the oldest and the newest kernels, for the fuzz targets.
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
        cgroup: 11,
    };
    let newest = KernelFeatures {
        cookies: true,
        transport: super::Transport::MappedRing,
        atomics: true,
        task: Some(super::TaskStructOffsets { comm: 3000, pid: 2000, tgid: 2004 }),
    };
    for features in [KernelFeatures::default(), newest] {
        compile(plan, &maps, features)?;
    }
    Ok(())
}

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
    emitter.only_chosen_processes();
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
        // Hits after the budget is used up are not part of the session.
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
    emitter.count(Counter::Hits);
    emitter.dispatch(sites)?;
    emitter.endings();
    emitter.asm.finish()
}

struct Emitter<'a> {
    asm: Assembler,
    maps: &'a MapFds,
    plan: &'a Plan,
    features: KernelFeatures,
    /// Where every hit ends.
    done: Label,
    /// Where hits end that the user does not want.
    filtered: Label,
    /// Where hits end that there is no room for.
    dropped: Label,
}

impl Emitter<'_> {
    /// Goes on for these processes only. The link filters, too, where the kernel's filter is right.
    fn only_chosen_processes(&mut self) {
        let asm = &mut self.asm;
        if let Some(pids) = &self.plan.pids {
            let go_on = asm.label();
            asm.call(helper::GET_CURRENT_PID_TGID);
            asm.shr(R0, 32);
            for pid in pids {
                asm.jump_if(Cond::Eq, R0, *pid as i32, go_on);
            }
            asm.jump(self.done);
            asm.place(go_on);
        }
        if self.plan.cgroup.is_some() {
            asm.map(R1, self.maps.cgroup);
            asm.mov_imm(R2, 0);
            asm.call(helper::CURRENT_TASK_UNDER_CGROUP);
            asm.jump_if(Cond::Ne, R0, 1, self.done);
        }
    }

    /// Atomic although per CPU: uprobe programs can be preempted by another hit on the same CPU.
    fn count(&mut self, counter: Counter) {
        self.asm.mov_imm(R1, 1);
        self.asm.atomic_add(COUNTERS, counter.offset(), R1);
    }

    fn endings(&mut self) {
        self.asm.place(self.filtered);
        self.count(Counter::Filtered);
        self.asm.jump(self.done);
        self.asm.place(self.dropped);
        self.count(Counter::Dropped);
        self.asm.place(self.done);
        self.asm.mov_imm(R0, 0);
        self.asm.exit();
    }

    /// Jumps to the code of the site's handler. Neighbouring cookies of one handler are one leaf of the tree.
    fn dispatch(&mut self, sites: &[&Site]) -> std::result::Result<(), JumpError> {
        let mut leaves: Vec<(u32, u32)> = Vec::new();
        for site in sites {
            if leaves.last().is_none_or(|(_, handler)| *handler != site.handler) {
                leaves.push((site.cookie, site.handler));
            }
        }
        let mut code: Vec<(u32, Label)> = Vec::new();
        for (_, handler) in &leaves {
            if !code.iter().any(|(l, _)| l == handler) {
                code.push((*handler, self.asm.label()));
            }
        }
        self.tree(&leaves, &code)?;
        for (index, label) in code {
            self.asm.place(label);
            let handler = self.plan.handlers.get(index as usize).ok_or(JumpError)?;
            self.handler(handler);
            self.asm.jump(self.done);
        }
        Ok(())
    }

    fn tree(
        &mut self,
        leaves: &[(u32, u32)],
        code: &[(u32, Label)],
    ) -> std::result::Result<(), JumpError> {
        if let [(_, handler)] = leaves {
            let (_, label) = code.iter().find(|(l, _)| l == handler).ok_or(JumpError)?;
            self.asm.jump(*label);
            return Ok(());
        }
        let (lower, upper) = leaves.split_at(leaves.len() / 2);
        let first_upper = upper.first().ok_or(JumpError)?.0;
        let right = self.asm.label();
        self.asm.jump_if(
            Cond::Ge,
            COOKIE,
            i32::try_from(first_upper).map_err(|_| JumpError)?,
            right,
        );
        self.tree(lower, code)?;
        self.asm.place(right);
        self.tree(upper, code)
    }

    fn handler(&mut self, handler: &Handler) {
        if handler.stack_check {
            self.only_without_branch();
        }
        let frame = &handler.frame;
        if frame.size > 0 {
            self.asm.mov(BASE, R10);
            self.asm.add_imm(BASE, -(frame.size as i32));
            self.asm.store_imm(Width::Dw, BASE, 0, 0);
            self.steps(&frame.filter_reads, reads::Base::Frame);
        }
        if let Some(condition) = &handler.filter {
            let passed = self.asm.label();
            self.condition(condition, passed, self.filtered);
            self.asm.place(passed);
        }
        self.sample();
        self.rate(handler);
        self.budget();
        self.action(handler);
    }

    /// Goes on where a `b.ls` is not taken: carry set, zero clear.
    fn only_without_branch(&mut self) {
        /// The two bits, zero above carry, end up as the only ones.
        const ABOVE: i32 = 64 - 2;
        let asm = &mut self.asm;
        let once = asm.label();
        asm.load(Width::Dw, R1, CTX, pt_regs::PSTATE);
        asm.shl(R1, ABOVE - pt_regs::CARRY_BIT as i32);
        asm.shr(R1, ABOVE);
        asm.jump_if(Cond::Eq, R1, 1, once);
        self.has_not_happened();
        self.asm.place(once);
    }

    /// Takes a hit back that was counted.
    fn has_not_happened(&mut self) {
        self.asm.mov_imm(R1, -1);
        self.asm.atomic_add(COUNTERS, Counter::Hits.offset(), R1);
        self.asm.jump(self.done);
    }

    /// One in N, by chance, so that no pattern of the program is in step with it.
    fn sample(&mut self) {
        let Some(every) = self.plan.sample else { return };
        self.asm.call(helper::GET_PRANDOM_U32);
        let share = (u64::from(u32::MAX) + 1) / u64::from(every.max(1));
        self.asm.mov_imm64(R1, share as i64);
        self.asm.jump_if_reg(Cond::Ge, R0, R1, self.filtered);
    }

    /// At most N a second: a word holds the second and the count in it. Who finds an older second starts a new one;
    /// who loses that race is turned away, so that there are never more than N. Without the old value, hits on several
    /// CPUs at once may pass together.
    fn rate(&mut self, handler: &Handler) {
        let (Some(most), Some(slot)) = (self.plan.rate, handler.rate) else { return };
        let (full, passed) = (self.filtered, self.asm.label());
        let asm = &mut self.asm;
        let another = asm.label();
        asm.call(helper::KTIME_GET_NS);
        asm.div_imm(R0, 1_000_000_000);
        asm.map_value_at(R1, self.maps.rates, slot as i32 * 8);
        if !self.features.atomics {
            asm.load(Width::Dw, R2, R1, 0);
            asm.mov(R3, R2);
            asm.shr(R3, 32);
            asm.jump_if_reg(Cond::Eq, R3, R0, another);
            asm.mov(R2, R0);
            asm.shl(R2, 32);
            asm.store(Width::Dw, R1, 0, R2);
            asm.place(another);
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
        asm.jump_if_reg(Cond::Ne, R3, R0, another);
        asm.shl(R2, 32);
        asm.shr(R2, 32);
        asm.mov_imm64(R3, i64::from(most));
        asm.jump_if_reg(Cond::Ge, R2, R3, full);
        asm.jump(passed);
        asm.place(another);
        asm.mov(R3, R0);
        asm.shl(R3, 32);
        asm.or_imm(R3, 1);
        asm.add_imm(R2, 1);
        asm.mov(R0, R2);
        asm.compare_exchange(R1, 0, R3);
        asm.jump_if_reg(Cond::Ne, R0, R2, full);
        asm.place(passed);
    }

    /// Takes one from the limit. A hit that finds it used up meanwhile has not happened.
    fn budget(&mut self) {
        if self.plan.limit.is_none() {
            return;
        }
        let asm = &mut self.asm;
        let left = asm.label();
        asm.map_value(R1, self.maps.control);
        asm.mov_imm(R2, -1);
        if !self.features.atomics {
            // The session drops the records beyond the limit.
            asm.atomic_add(R1, 0, R2);
            return;
        }
        asm.atomic_fetch_add(R1, 0, R2);
        asm.jump_if(Cond::Sgt, R2, 0, left);
        self.has_not_happened();
        self.asm.place(left);
    }
}
