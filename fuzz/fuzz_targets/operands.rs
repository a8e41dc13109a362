//! Arguments of random specifications, carried out by the simulated back end on random registers and memory, against
//! an evaluation of their own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::argspec::{Arch, Operand, Register, RegisterId, Value, parse};
use std::collections::BTreeMap;
use usdt_attach::backend::simulated::{Hit, Simulated};
use usdt_attach::discover::sample;
use usdt_attach::event;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::Session;
use usdt_fuzz::{metered, text};

/// Places in `struct pt_regs` by the hardware's numbers (`arch/x86/include/uapi/asm/ptrace.h`).
const PLACES: [i16; 16] = [80, 88, 96, 40, 152, 32, 104, 112, 72, 64, 56, 48, 24, 16, 8, 0];
/// Of the instruction pointer.
const RIP: i16 = 128;

const MEMORY: u64 = 0x10_0000;
const SIZE: usize = 4096;

struct Machine {
    registers: BTreeMap<i16, u64>,
    memory: Vec<u8>,
}

impl Machine {
    fn register(&self, register: &Register) -> Option<u64> {
        let place = match register.id {
            RegisterId::Gpr(number) => *PLACES.get(usize::from(number))?,
            RegisterId::Pc => RIP,
            _ => return None,
        };
        Some(self.registers.get(&place).copied().unwrap_or(0))
    }

    /// The value's own bytes; the outer `None` is for what nobody can say.
    fn raw(&self, value: &Value) -> Option<Option<u64>> {
        let high_byte = matches!(value.operand, Operand::Register(Register { shift: 8, .. }));
        let size = if high_byte { 1 } else { value.size };
        let raw = match &value.operand {
            Operand::Constant(expr) if expr.symbol.is_none() => expr.offset as u64,
            Operand::Register(register) => self.register(register)? >> register.shift,
            Operand::Memory { disp, base, index } if disp.symbol.is_none() => {
                let mut at = disp.offset as u64;
                if let Some(base) = base {
                    at = at.wrapping_add(self.register(base)?);
                }
                if let Some(index) = index {
                    at = at.wrapping_add(
                        self.register(&index.register)?.wrapping_mul(index.scale.into()),
                    );
                }
                let Some(bytes) = at.checked_sub(MEMORY).and_then(|from| {
                    self.memory.get(usize::try_from(from).ok()?..)?.get(..value.size.into())
                }) else {
                    return Some(None);
                };
                bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
            }
            _ => return None,
        };
        let unused = 64 - 8 * u32::from(size);
        let cut = raw << unused;
        Some(Some(if value.signed { (cut as i64 >> unused) as u64 } else { cut >> unused }))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((head, spec)) = data.split_at_checked(34) else { return };
    let mut registers: BTreeMap<i16, u64> = BTreeMap::new();
    for (place, bytes) in PLACES.iter().chain([&RIP]).zip(head.chunks_exact(2)) {
        // Pointers into memory, most of them, and one in eight some number.
        let number = u64::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        let value =
            if number % 8 == 0 { number << 45 | number } else { MEMORY + number % SIZE as u64 };
        registers.insert(*place, value);
    }
    let memory = (0..SIZE).map(|at| (at * 7 + at / 256) as u8 ^ head[at % head.len()]).collect();
    let machine = Machine { registers, memory };
    let spec = text(spec);
    metered(|| {
        let values: Vec<Value> =
            parse(&spec, Arch::X86_64).into_iter().filter_map(|a| a.value.ok()).collect();
        let words: Vec<String> = values.iter().map(|v| v.print(Arch::X86_64)).collect();
        let probe = sample::probe(&words.join(" "));
        let Ok((plan, _)) = Plan::new(&[sample::selected(probe)], &Options::default()) else {
            return;
        };
        let backend = Simulated::default();
        let mut session = Session::start(plan, &backend).expect("a plan is carried out");
        backend.hit(&Hit {
            site: 0,
            pid: 1,
            tid: 1,
            comm: "fuzz".into(),
            time_ns: 1,
            registers: machine.registers.clone(),
            memory: BTreeMap::from([(MEMORY, machine.memory.clone())]),
            stack: Vec::new(),
        });
        let raw: Vec<Option<Option<u64>>> = values.iter().map(|value| machine.raw(value)).collect();
        // Neighbours are read in one go, and fail together.
        let all_there = raw.iter().all(|r| *r != Some(None));
        session
            .drain(|event| {
                for (((_, seen), raw), value) in event.args().zip(&raw).zip(&values) {
                    let Some(raw) = raw else { continue };
                    match (seen, raw) {
                        (event::Value::Signed(n), Some(raw)) => {
                            assert_eq!(n as u64, *raw, "{value:?}")
                        }
                        (event::Value::Unsigned(n), Some(raw)) => assert_eq!(n, *raw, "{value:?}"),
                        (event::Value::Unreadable, None) => {}
                        (event::Value::Unreadable, Some(_)) => {
                            assert!(!all_there, "{value:?} can be read")
                        }
                        (seen, None) => panic!("{value:?} is {seen:?}, but not there"),
                        (seen, Some(raw)) => panic!("{value:?} is {seen:?}, not {raw}"),
                    }
                }
            })
            .expect("what is simulated can be read");
    });
});
