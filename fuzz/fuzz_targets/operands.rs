//! Operands: the simulated backend reads arguments of random specifications from random registers
//! and memory, and this target compares them with its own evaluation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::argspec::{Arch, Operand, Register, RegisterId, Value, parse};
use std::collections::BTreeMap;
use usdt_attach::backend::simulated::{Hit, Simulated};
use usdt_attach::discover::sample;
use usdt_attach::event;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::Session;
use usdt_fuzz::{lossy_string, with_memory_limit};

/// The offsets of registers in `struct pt_regs` by hardware number
/// (`arch/x86/include/uapi/asm/ptrace.h`).
const REGISTER_OFFSETS: [i16; 16] =
    [80, 88, 96, 40, 152, 32, 104, 112, 72, 64, 56, 48, 24, 16, 8, 0];
/// The offset of the instruction pointer in `struct pt_regs`.
const RIP_OFFSET: i16 = 128;

/// The address of the memory.
const MEMORY_START: u64 = 0x10_0000;
/// The size of the memory in bytes.
const MEMORY_SIZE: usize = 4096;

/// The registers, by offset in `struct pt_regs`, and the memory of a thread.
struct Machine {
    registers: BTreeMap<i16, u64>,
    memory: Vec<u8>,
}

/// The result of evaluating a value.
#[derive(Debug, PartialEq, Eq)]
enum Evaluation {
    /// The value, extended to 64 bits.
    Bits(u64),
    /// The operand is outside of the memory.
    Unreadable,
}

impl Machine {
    fn register(&self, register: &Register) -> Option<u64> {
        let offset = match register.id {
            RegisterId::Gpr(number) => *REGISTER_OFFSETS.get(usize::from(number))?,
            RegisterId::Pc => RIP_OFFSET,
            _ => return None,
        };
        Some(self.registers.get(&offset).copied().unwrap_or(0))
    }

    /// Evaluates a value. `None` for operands that this machine does not have.
    fn evaluate(&self, value: &Value) -> Option<Evaluation> {
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
                let Some(bytes) = at.checked_sub(MEMORY_START).and_then(|from| {
                    self.memory.get(usize::try_from(from).ok()?..)?.get(..value.size.into())
                }) else {
                    return Some(Evaluation::Unreadable);
                };
                bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
            }
            _ => return None,
        };
        let unused = 64 - 8 * u32::from(size);
        let shifted = raw << unused;
        let bits = if value.signed { (shifted as i64 >> unused) as u64 } else { shifted >> unused };
        Some(Evaluation::Bits(bits))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((head, spec)) = data.split_at_checked(34) else { return };
    let mut registers: BTreeMap<i16, u64> = BTreeMap::new();
    for (offset, bytes) in REGISTER_OFFSETS.iter().chain([&RIP_OFFSET]).zip(head.chunks_exact(2)) {
        // Most values are pointers into the memory; one in eight is an arbitrary number.
        let number = u64::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        let value = if number % 8 == 0 {
            number << 45 | number
        } else {
            MEMORY_START + number % MEMORY_SIZE as u64
        };
        registers.insert(*offset, value);
    }
    let memory =
        (0..MEMORY_SIZE).map(|at| (at * 7 + at / 256) as u8 ^ head[at % head.len()]).collect();
    let machine = Machine { registers, memory };
    let spec = lossy_string(spec);
    with_memory_limit(|| {
        let values: Vec<Value> = parse(&spec, Arch::X86_64)
            .into_iter()
            .filter_map(|a| a.value.ok())
            // Larger values are not numbers of 64 bits.
            .filter(|value| value.size <= 8)
            .collect();
        let words: Vec<String> = values.iter().map(|v| v.to_spec(Arch::X86_64)).collect();
        let probe = sample::probe(&words.join(" "));
        let Ok((plan, _)) = Plan::new(&[sample::selected(probe)], &Options::default()) else {
            return;
        };
        let backend = Simulated::default();
        let mut session =
            Session::start(plan, &backend).expect("a session of the simulated backend");
        backend.hit(&Hit {
            site: 0,
            pid: 1,
            tid: 1,
            comm: "fuzz".into(),
            time_ns: 1,
            registers: machine.registers.clone(),
            memory: BTreeMap::from([(MEMORY_START, machine.memory.clone())]),
            stack: Vec::new(),
        });
        let expected: Vec<Option<Evaluation>> =
            values.iter().map(|value| machine.evaluate(value)).collect();
        // The backend reads adjacent memory operands together, so they fail together.
        let all_readable = expected.iter().all(|e| *e != Some(Evaluation::Unreadable));
        session
            .drain(|event| {
                for (((_, actual), expected), value) in event.args().zip(&expected).zip(&values) {
                    let Some(expected) = expected else { continue };
                    match (actual, expected) {
                        (event::Value::Signed(n), Evaluation::Bits(bits)) => {
                            assert_eq!(n as u64, *bits, "{value:?}");
                        }
                        (event::Value::Unsigned(n), Evaluation::Bits(bits)) => {
                            assert_eq!(n, *bits, "{value:?}");
                        }
                        (event::Value::Float(n), Evaluation::Bits(bits)) => {
                            assert!(value.float, "{value:?}");
                            let expected = match value.size {
                                4 => f64::from(f32::from_bits(*bits as u32)),
                                _ => f64::from_bits(*bits),
                            };
                            assert!(
                                n == expected || n.is_nan() && expected.is_nan(),
                                "{value:?}: {n}, not {expected}"
                            );
                        }
                        (event::Value::Unreadable, Evaluation::Unreadable) => {}
                        (event::Value::Unreadable, Evaluation::Bits(_)) => {
                            assert!(!all_readable, "{value:?} can be read");
                        }
                        (actual, expected) => panic!("{value:?} is {actual:?}, not {expected:?}"),
                    }
                }
            })
            .expect("events of the simulated backend");
    });
});
