use super::*;
use crate::bpf::{PreemptionFunctions, TaskStructOffsets, Transport};
use crate::discover::Object;
use crate::plan::record_layout::{ArgView, Layout};
use crate::plan::{Action, Address, ArgSlot, Frame, Method, PlannedObject, PlannedProbe, ReadOp};
use stapsdt::schema::Kind;
use std::sync::Arc;

pub(super) const MAPS: MapFds = MapFds {
    events: 3,
    wakeup: 12,
    counters: 4,
    control: 5,
    rates: 6,
    table: 7,
    zero: 8,
    starts: 9,
    nested: 13,
    cgroup: 10,
    processes: 11,
    executables: 12,
};

pub(super) const FEATURES: KernelFeatures = KernelFeatures {
    cookies: true,
    transport: Transport::MappedRing,
    atomics: true,
    preemption: Some(PreemptionFunctions { disable: 100, enable: 101 }),
    task: Some(TaskStructOffsets { comm: 3000, pid: 2000, tgid: 2004 }),
    sleepable: false,
    pid_namespace: None,
    executable: None,
};

/// Returns a plan whose sites use the handlers in turn. Each handler writes records of a different
/// size.
fn plan(sites: u32, handlers: u32) -> Plan {
    let own = std::env::current_exe().unwrap();
    let length = ArgSlot { at: 56, size: 4, signed: true, fault: None };
    let layout = |i: u32| Layout {
        size: 64 + 8 * i,
        reads: vec![
            ReadOp::Constant { to: 48, value: i64::from(i) << 40 },
            ReadOp::Register { to: 56, from: 152 },
            ReadOp::Memory {
                to: 24,
                len: 8,
                from: Address {
                    base: Some(8),
                    index: Some((16, 4)),
                    deref_chain: vec![16],
                    disp: 1 << 40,
                },
                fault: 0,
            },
            ReadOp::String {
                to: 64,
                max: 64,
                pointer: 48,
                length: Some(length),
                fault: 1,
                fault_in: true,
            },
            ReadOp::String {
                to: 64,
                max: 64,
                pointer: 48,
                length: None,
                fault: 31,
                fault_in: false,
            },
        ],
        args: vec![ArgView {
            name: "a".into(),
            kind: Kind::Int,
            slot: None,
            string: None,
            ext: None,
            missing: None,
            labels: None,
            interface: None,
            problem: None,
        }],
        goid: i.is_multiple_of(2),
        frame: None,
        stack: None,
    };
    let handler = |i: u32| Handler {
        stack_check: false,
        frame: Frame::default(),
        filter: None,
        rate: None,
        action: Action::Record(layout(i)),
    };
    let site = |i: u32| Site {
        cookie: i,
        probe: 0,
        handler: i % handlers,
        address: u64::from(i),
        offset: u64::from(i),
        semaphore_offset: None,
        method: Method::Nop,
        stub: false,
    };
    let object = Arc::new(Object::open(&own, &own).unwrap());
    Plan {
        objects: vec![PlannedObject {
            path: own.clone(),
            sites: (0..sites).map(site).collect(),
            id: object.id,
            object: Some(object),
        }],
        probes: vec![PlannedProbe { provider: "p".into(), name: "n".into() }],
        handlers: (0..handlers).map(handler).collect(),
        pids: Some(vec![1, 2, 3]),
        buffer: 1 << 20,
        ..Plan::default()
    }
}

/// Follows the tree of comparisons for a cookie, as the kernel would. Returns the size of the
/// record that the handler reserves.
fn reserved_size(code: &[Insn], cookie: u32) -> i32 {
    // The tree follows the first atomic add without fetch, which counts the hit.
    let start = code.iter().position(|i| i.code == 0xdb && i.imm == 0).unwrap() + 1;
    let mut at = start;
    loop {
        let insn = code[at];
        let target = |at: usize| (at as i64 + 1 + i64::from(insn.off)) as usize;
        match insn.code {
            0x05 => at = target(at),
            0x35 if i64::from(cookie) >= i64::from(insn.imm) => at = target(at),
            0x35 => at += 1,
            // A handler begins with base = frame pointer - size of the part on the stack. The first
            // fetching addition then reserves the size of the record, which is the last constant in
            // r3 before it.
            0xbf => {
                let prefix = -code[at + 1].imm;
                let reservation =
                    (at..).find(|i| code[*i].code == 0xdb && code[*i].imm == 1).unwrap();
                let constant = code[at..reservation]
                    .iter()
                    .rev()
                    .find(|i| i.code == 0xb7 && i.dst == 3)
                    .unwrap();
                return prefix.max(constant.imm);
            }
            other => panic!("unexpected opcode {other:#x} in the tree"),
        }
    }
}

#[test]
fn every_site_reaches_its_own_handler() {
    for (sites, handlers, programs) in [
        (1, 1, 1),
        (2, 2, 1),
        (7, 3, 1),
        (500, 30, 1),
        (300, 100, 10),
        (10_000, 1, 1),
        (10_000, 2, 3),
    ] {
        let plan = plan(sites, handlers);
        let compiled = compile(&plan, &MAPS, FEATURES).unwrap();
        assert_eq!(compiled.len(), programs, "{sites} sites, {handlers} handlers");
        let mut cookies: Vec<u32> = Vec::new();
        for Program { cookies: served, code, .. } in &compiled {
            assert_eq!(code.last().unwrap().code, 0x95, "ends with exit");
            for cookie in served {
                assert_eq!(
                    reserved_size(code, *cookie),
                    64 + 8 * (cookie % handlers) as i32,
                    "site {cookie}"
                );
            }
            cookies.extend(served);
        }
        assert_eq!(cookies, (0..sites).collect::<Vec<_>>());
    }
}

#[test]
fn every_jump_lands_on_an_instruction() {
    let oldest = compile(&plan(50, 30), &MAPS, KernelFeatures::default()).unwrap();
    let mut plan = plan(500, 30);
    plan.handlers[7].stack_check = true;
    let in_namespace = KernelFeatures { pid_namespace: Some(pid_namespace::SAMPLE), ..FEATURES };
    let newest =
        [FEATURES, in_namespace].into_iter().flat_map(|f| compile(&plan, &MAPS, f).unwrap());
    for Program { code, .. } in newest.chain(oldest) {
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

/// A plan that is not limited to executables pays nothing for the feature.
#[test]
fn compares_executables_only_if_the_plan_is_limited_to_them() {
    let executable = Some(crate::bpf::ExecutableOffsets { mm: 1000, file: 900, inode: 32 });
    let features = KernelFeatures { executable, ..FEATURES };
    let size = |plan: &Plan, features| compile(plan, &MAPS, features).unwrap()[0].code.len();
    let any = plan(2, 2);
    let limited = Plan { executables: Some(vec![1]), ..any.clone() };
    assert_eq!(size(&any, features), size(&any, FEATURES));
    // A call, three loads, a store, the address of the map and of the key, and the look-up.
    assert_eq!(size(&limited, features) - size(&any, features), 11);
}
