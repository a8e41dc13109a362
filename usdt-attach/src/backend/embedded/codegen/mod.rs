//! A plan as BPF instructions.
//!
//! One program serves all sites of a plan: the attach cookie says which one was hit and selects, by a tree of
//! comparisons, the code of its record layout. Everything on the way is straight-line: registers come from
//! `pt_regs` at constant offsets, adjacent stack slots in one copy.

use super::asm::{Assembler, BadJump, Cond, Insn, Label, R0, R1, R2, R3, R6, R7, R8, R9, R10, Reg, Width};
use crate::backend::kernel::MapFds;
use crate::error::{Error, Result};
use crate::plan::layout::{self, Address, Layout, Step};
use crate::plan::{Plan, Site};

/// Helper numbers (`include/uapi/linux/bpf.h`, `__BPF_FUNC_MAPPER`).
mod helper {
    pub(super) const MAP_LOOKUP_ELEM: u32 = 1;
    pub(super) const KTIME_GET_NS: u32 = 5;
    pub(super) const GET_CURRENT_PID_TGID: u32 = 14;
    pub(super) const GET_CURRENT_COMM: u32 = 16;
    pub(super) const PROBE_READ_USER: u32 = 112;
    pub(super) const PROBE_READ_USER_STR: u32 = 114;
    pub(super) const RINGBUF_RESERVE: u32 = 131;
    pub(super) const RINGBUF_SUBMIT: u32 = 132;
    pub(super) const RINGBUF_QUERY: u32 = 134;
    pub(super) const GET_ATTACH_COOKIE: u32 = 174;
}

const RB_NO_WAKEUP: i32 = 1;
const RB_FORCE_WAKEUP: i32 = 2;
const RB_AVAIL_DATA: i32 = 0;

/// Records whose time has none of these bits look at the buffer's fill level.
const LOOK_MASK: i32 = 63;

/// Sites whose code one program holds: jumps reach 32,767 instructions, a layout has at most a few hundred.
const SITES_PER_PROGRAM: usize = 4096;
/// Layouts one program holds, for the same reason.
const LAYOUTS_PER_PROGRAM: usize = 64;

/// Registers that live through the whole program.
const CTX: Reg = R6;
const RECORD: Reg = R7;
const COUNTERS: Reg = R8;
const COOKIE: Reg = R9;

/// The programs of a plan, each with the cookies of the sites it is for. One, unless the plan is huge.
pub fn emit(plan: &Plan, maps: &MapFds) -> Result<Vec<(Vec<u32>, Vec<Insn>)>> {
    let sites = plan.sites();
    let mut groups: Vec<Vec<&Site>> = Vec::new();
    let mut layouts: Vec<u32> = Vec::new();
    for site in sites {
        let fits = groups.last().is_some_and(|g| g.len() < SITES_PER_PROGRAM)
            && (layouts.contains(&site.layout) || layouts.len() < LAYOUTS_PER_PROGRAM);
        if !fits {
            groups.push(Vec::new());
            layouts.clear();
        }
        if !layouts.contains(&site.layout) {
            layouts.push(site.layout);
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
            let code = program(plan, maps, &group).map_err(|BadJump| {
                Error::Backend("the plan is too large for one kernel program".to_owned())
            })?;
            Ok((cookies, code))
        })
        .collect()
}

fn program(plan: &Plan, maps: &MapFds, sites: &[&Site]) -> std::result::Result<Vec<Insn>, BadJump> {
    let mut emitter = Emitter { asm: Assembler::default(), maps, plan };
    let asm = &mut emitter.asm;
    let done = asm.label();
    asm.mov(CTX, R1);
    if let Some(pids) = &plan.pids {
        only(asm, pids, done);
    }
    asm.mov(R1, CTX);
    asm.call(helper::GET_ATTACH_COOKIE);
    asm.mov(COOKIE, R0);
    if plan.limit.is_some() {
        // The budget is counted down before anything else: hits beyond it are not part of the session.
        asm.map_value(R1, maps.control);
        asm.mov_imm(R2, -1);
        asm.atomic_fetch_add(R1, 0, R2);
        asm.jump_if(Cond::Sle, R2, 0, done);
    }
    asm.store(Width::W, R10, -4, COOKIE);
    asm.map(R1, maps.counters);
    asm.mov(R2, R10);
    asm.add_imm(R2, -4);
    asm.call(helper::MAP_LOOKUP_ELEM);
    asm.jump_if(Cond::Eq, R0, 0, done);
    asm.mov(COUNTERS, R0);
    asm.mov_imm(R1, 1);
    // Atomic although per CPU: uprobe programs can be preempted by another hit on the same CPU.
    asm.atomic_add(COUNTERS, 0, R1);
    emitter.dispatch(sites, done)?;
    emitter.asm.place(done);
    emitter.asm.mov_imm(R0, 0);
    emitter.asm.exit();
    emitter.asm.finish()
}

/// Goes on for these processes only. The link filters, too, where the kernel's filter is right.
fn only(asm: &mut Assembler, pids: &[u32], done: Label) {
    let go_on = asm.label();
    asm.call(helper::GET_CURRENT_PID_TGID);
    asm.shr(R0, 32);
    for pid in pids {
        asm.jump_if(Cond::Eq, R0, *pid as i32, go_on);
    }
    asm.jump(done);
    asm.place(go_on);
}

struct Emitter<'a> {
    asm: Assembler,
    maps: &'a MapFds,
    plan: &'a Plan,
}

impl Emitter<'_> {
    /// Jumps to the code of the site's layout. Neighbouring cookies of one layout are one leaf of the tree.
    fn dispatch(&mut self, sites: &[&Site], done: Label) -> std::result::Result<(), BadJump> {
        let mut leaves: Vec<(u32, u32)> = Vec::new();
        for site in sites {
            if leaves.last().is_none_or(|(_, layout)| *layout != site.layout) {
                leaves.push((site.cookie, site.layout));
            }
        }
        let mut code: Vec<(u32, Label)> = Vec::new();
        for (_, layout) in &leaves {
            if !code.iter().any(|(l, _)| l == layout) {
                code.push((*layout, self.asm.label()));
            }
        }
        self.tree(&leaves, &code)?;
        for (layout, label) in code {
            self.asm.place(label);
            let layout = self.plan.layouts.get(layout as usize).ok_or(BadJump)?;
            self.record(layout, done);
        }
        Ok(())
    }

    fn tree(&mut self, leaves: &[(u32, u32)], code: &[(u32, Label)]) -> std::result::Result<(), BadJump> {
        if let [(_, layout)] = leaves {
            let (_, label) = code.iter().find(|(l, _)| l == layout).ok_or(BadJump)?;
            self.asm.jump(*label);
            return Ok(());
        }
        let (lower, upper) = leaves.split_at(leaves.len() / 2);
        let first_upper = upper.first().ok_or(BadJump)?.0;
        let right = self.asm.label();
        self.asm.jump_if(Cond::Ge, COOKIE, i32::try_from(first_upper).map_err(|_| BadJump)?, right);
        self.tree(lower, code)?;
        self.asm.place(right);
        self.tree(upper, code)
    }

    fn record(&mut self, layout: &Layout, done: Label) {
        let asm = &mut self.asm;
        let reserved = asm.label();
        asm.map(R1, self.maps.ring);
        asm.mov_imm(R2, layout.size as i32);
        asm.mov_imm(R3, 0);
        asm.call(helper::RINGBUF_RESERVE);
        asm.jump_if(Cond::Ne, R0, 0, reserved);
        asm.mov_imm(R1, 1);
        asm.atomic_add(COUNTERS, 8, R1);
        asm.jump(done);
        asm.place(reserved);
        asm.mov(RECORD, R0);
        // The cookie, and no faults yet.
        asm.store(Width::Dw, RECORD, layout::COOKIE as i16, COOKIE);
        asm.call(helper::KTIME_GET_NS);
        asm.store(Width::Dw, RECORD, layout::TIME as i16, R0);
        asm.call(helper::GET_CURRENT_PID_TGID);
        asm.store(Width::Dw, RECORD, layout::PID_TGID as i16, R0);
        if !layout.goid {
            asm.store_imm(Width::Dw, RECORD, layout::GOID as i16, 0);
        }
        asm.mov(R1, RECORD);
        asm.add_imm(R1, layout::COMM as i32);
        asm.mov_imm(R2, 16);
        asm.call(helper::GET_CURRENT_COMM);
        for step in &layout.steps {
            self.step(step);
        }
        self.submit();
        self.asm.jump(done);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Constant { to, value } => {
                self.asm.mov_imm64(R1, *value);
                self.asm.store(Width::Dw, RECORD, *to as i16, R1);
            }
            Step::Register { to, from } => {
                self.asm.load(Width::Dw, R1, CTX, *from);
                self.asm.store(Width::Dw, RECORD, *to as i16, R1);
            }
            Step::Memory { to, len, from, fault } => {
                self.address(from);
                self.asm.mov(R1, RECORD);
                self.asm.add_imm(R1, *to as i32);
                self.asm.mov_imm(R2, *len as i32);
                self.asm.call(helper::PROBE_READ_USER);
                self.fault_unless_zero(*fault);
            }
            Step::Text { to, max, pointer, length, fault } => self.text(*to, *max, *pointer, *length, *fault),
        }
    }

    /// `r3 = base + index * scale + disp`.
    fn address(&mut self, from: &Address) {
        let asm = &mut self.asm;
        match from.base {
            Some(base) => asm.load(Width::Dw, R3, CTX, base),
            None => asm.mov_imm(R3, 0),
        }
        if let Some((index, scale)) = from.index {
            asm.load(Width::Dw, R2, CTX, index);
            if scale > 1 {
                asm.shl(R2, scale.ilog2() as i32);
            }
            asm.add(R3, R2);
        }
        match i32::try_from(from.disp) {
            Ok(0) => {}
            Ok(disp) => asm.add_imm(R3, disp),
            Err(_) => {
                asm.mov_imm64(R2, from.disp);
                asm.add(R3, R2);
            }
        }
    }

    fn text(&mut self, to: u32, max: u32, pointer: u32, length: Option<u32>, fault: u8) {
        let asm = &mut self.asm;
        asm.load(Width::Dw, R3, RECORD, pointer as i16);
        match length {
            Some(length) => {
                let short = asm.label();
                asm.load(Width::Dw, R2, RECORD, length as i16);
                asm.jump_if(Cond::Le, R2, max as i32, short);
                asm.mov_imm(R2, max as i32);
                asm.place(short);
                asm.store(Width::W, RECORD, to as i16, R2);
                asm.mov(R1, RECORD);
                asm.add_imm(R1, to as i32 + 8);
                asm.call(helper::PROBE_READ_USER);
                self.fault_unless_zero(fault);
            }
            None => {
                let fine = asm.label();
                asm.mov(R1, RECORD);
                asm.add_imm(R1, to as i32 + 8);
                asm.mov_imm(R2, max as i32);
                asm.call(helper::PROBE_READ_USER_STR);
                asm.store(Width::W, RECORD, to as i16, R0);
                asm.jump_if(Cond::Sge, R0, 0, fine);
                self.set_fault(fault);
                self.asm.place(fine);
            }
        }
    }

    fn fault_unless_zero(&mut self, fault: u8) {
        let fine = self.asm.label();
        self.asm.jump_if(Cond::Eq, R0, 0, fine);
        self.set_fault(fault);
        self.asm.place(fine);
    }

    fn set_fault(&mut self, fault: u8) {
        let asm = &mut self.asm;
        asm.load(Width::W, R1, RECORD, layout::FAULTS as i16);
        asm.or32_imm(R1, (1u32 << fault) as i32);
        asm.store(Width::W, RECORD, layout::FAULTS as i16, R1);
    }

    /// Hands the record over without waking the reader, who comes by himself. One record in 64, picked by the
    /// clock's low bits, looks at how full the buffer is and calls him at its half: the look costs more than the
    /// rest of the hand-over, because the reader's position is on another CPU's cache line.
    fn submit(&mut self) {
        let half = (self.plan.buffer / 2) as i32;
        let asm = &mut self.asm;
        let quiet = asm.label();
        asm.load(Width::Dw, R1, RECORD, layout::TIME as i16);
        asm.mov_imm(R2, RB_NO_WAKEUP);
        asm.and_imm(R1, LOOK_MASK);
        asm.jump_if(Cond::Gt, R1, 0, quiet);
        asm.map(R1, self.maps.ring);
        asm.mov_imm(R2, RB_AVAIL_DATA);
        asm.call(helper::RINGBUF_QUERY);
        asm.mov_imm(R2, RB_NO_WAKEUP);
        asm.jump_if(Cond::Le, R0, half, quiet);
        asm.mov_imm(R2, RB_FORCE_WAKEUP);
        asm.place(quiet);
        asm.mov(R1, RECORD);
        asm.call(helper::RINGBUF_SUBMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Object;
    use crate::plan::layout::ArgView;
    use crate::plan::{Method, PlannedObject, PlannedProbe};
    use stapsdt::schema::Kind;
    use std::sync::Arc;

    const MAPS: MapFds = MapFds { ring: 3, counters: 4, control: 5 };

    /// A plan of `sites` sites that take turns in `layouts` layouts of different sizes.
    fn plan(sites: u32, layouts: u32) -> Plan {
        let own = std::env::current_exe().unwrap();
        let layout = |i: u32| Layout {
            size: 64 + 8 * i,
            steps: vec![
                Step::Constant { to: 48, value: i64::from(i) << 40 },
                Step::Register { to: 56, from: 152 },
                Step::Memory {
                    to: 24,
                    len: 8,
                    from: Address { base: Some(8), index: Some((16, 4)), disp: 1 << 40 },
                    fault: 0,
                },
                Step::Text { to: 64, max: 64, pointer: 48, length: Some(56), fault: 1 },
                Step::Text { to: 64, max: 64, pointer: 48, length: None, fault: 31 },
            ],
            args: vec![ArgView { name: "a".into(), kind: Kind::Int, word: None, text: None, problem: None }],
            goid: i.is_multiple_of(2),
        };
        let site = |i: u32| Site {
            cookie: i,
            probe: 0,
            layout: i % layouts,
            offset: u64::from(i),
            semaphore_offset: None,
            method: Method::Nop,
        };
        Plan {
            objects: vec![PlannedObject {
                path: own.clone(),
                sites: (0..sites).map(site).collect(),
                object: Arc::new(Object::open(&own, &own).unwrap()),
            }],
            probes: vec![PlannedProbe { provider: "p".into(), name: "n".into() }],
            layouts: (0..layouts).map(layout).collect(),
            pids: Some(vec![1, 2, 3]),
            limit: Some(5),
            buffer: 1 << 20,
        }
    }

    /// Follows the tree of comparisons as the kernel would; returns the record size that the site's code reserves.
    fn reserved(code: &[Insn], cookie: u32) -> i32 {
        // The tree begins behind the first atomic add that fetches nothing, which counts the hit.
        let start = code.iter().position(|i| i.code == 0xdb && i.imm == 0).unwrap() + 1;
        let mut at = start;
        loop {
            let insn = code[at];
            let target = |at: usize| (at as i64 + 1 + i64::from(insn.off)) as usize;
            match insn.code {
                0x05 => at = target(at),
                0x35 if i64::from(cookie) >= i64::from(insn.imm) => at = target(at),
                0x35 => at += 1,
                // r1 = ring (two slots), r2 = size
                0x18 => return code[at + 2].imm,
                other => panic!("{other:#x} in the tree"),
            }
        }
    }

    #[test]
    fn every_site_reaches_its_own_layout() {
        for (sites, layouts, programs) in
            [(1, 1, 1), (2, 2, 1), (7, 3, 1), (500, 40, 1), (300, 100, 5), (10_000, 1, 3)]
        {
            let plan = plan(sites, layouts);
            let made = emit(&plan, &MAPS).unwrap();
            assert_eq!(made.len(), programs, "{sites} sites, {layouts} layouts");
            let mut cookies: Vec<u32> = Vec::new();
            for (served, code) in &made {
                assert_eq!(code.last().unwrap().code, 0x95, "ends with exit");
                for cookie in served {
                    assert_eq!(reserved(code, *cookie), 64 + 8 * (cookie % layouts) as i32, "site {cookie}");
                }
                cookies.extend(served);
            }
            assert_eq!(cookies, (0..sites).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_jump_lands_on_an_instruction() {
        for (_, code) in emit(&plan(500, 40), &MAPS).unwrap() {
            let second_slot: Vec<usize> =
                code.iter().enumerate().filter(|(_, i)| i.code == 0x18).map(|(at, _)| at + 1).collect();
            for (at, insn) in code.iter().enumerate() {
                let jumps = insn.code & 7 == 5 && ![0x85, 0x95].contains(&insn.code);
                if jumps && !second_slot.contains(&at) {
                    let target = at as i64 + 1 + i64::from(insn.off);
                    assert!((0..code.len() as i64).contains(&target), "{at}: {insn:?}");
                    assert!(!second_slot.contains(&(target as usize)), "{at}: {insn:?}");
                }
            }
        }
    }
}
