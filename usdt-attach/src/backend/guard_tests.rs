//! Property tests of values that may not exist, on the simulated back end: an element of a slice, and
//! what an interface holds.

use super::simulated::{Hit, Simulated};
use crate::discover::{ArgumentGuard, Probe, Source, sample};
use crate::event::Value;
use crate::filter::Filter;
use crate::plan::{Mode, Options, Plan};
use crate::session::Session;
use gobinary::signature::GuardTest;
use proptest::prelude::*;
use stapsdt::schema::Kind;
use std::collections::BTreeMap;

/// Offsets of registers in `pt_regs`.
const RDI: i16 = 112;
const RSI: i16 = 104;
const RDX: i16 = 96;
const RCX: i16 = 88;
const RIP: i16 = 128;
/// Where the memory of a hit is, and its size in bytes.
const MEMORY: u64 = 0x4000;
const SIZE: u64 = 128;
/// The link-time addresses of the site and of a type descriptor.
const SITE: u64 = 0x1000;
const TYPE: u64 = 0x9000;

/// Returns a probe with the element 3 of a slice in `rdi` and `rsi`, and with a field of the
/// struct that an interface in `rdx` and `rcx` points to. `rdx` is that of an interface with methods.
fn probe() -> Probe {
    let kinds = [("element", Kind::Int), ("field", Kind::Int)];
    let guard = |argument: &str, word: &str, test| ArgumentGuard {
        argument: argument.into(),
        word: word.into(),
        test,
    };
    Probe {
        source: Source::Function,
        address: SITE,
        guards: vec![
            guard("element", "-8@%rsi", GuardTest::HasIndex(3)),
            guard("field", "8@%rdx", GuardTest::IsNotNil),
            guard("field", "8@8(%rdx)", GuardTest::IsType(TYPE)),
        ],
        ..sample::described("8@24(%rdi) 8@16(%rcx)", &kinds)
    }
}

/// The state of a hit: the slice, the interface, and where the program is mapped.
#[derive(Clone, Debug)]
struct State {
    elements: u64,
    len: i64,
    itab: u64,
    /// True if the itab has the type.
    has_type: bool,
    data: u64,
    mapped: u64,
}

fn state() -> impl Strategy<Value = State> {
    let pointer = || prop_oneof![Just(0), MEMORY..MEMORY + SIZE, any::<u64>()];
    let len = prop_oneof![-2..8i64, any::<i64>()];
    let mapped = prop_oneof![Just(0), Just(0x5555_0000_0000u64)];
    (pointer(), len, pointer(), any::<bool>(), pointer(), mapped).prop_map(
        |(elements, len, itab, has_type, data, mapped)| State {
            elements,
            len,
            itab,
            has_type,
            data,
            mapped,
        },
    )
}

impl State {
    fn memory(&self) -> Vec<u8> {
        let mut memory: Vec<u8> = (0..SIZE).map(|at| at as u8).collect();
        if self.has_type
            && let Some(at) = self.itab.checked_sub(MEMORY)
            && let Some(word) = memory.get_mut(at as usize + 8..).and_then(|m| m.get_mut(..8))
        {
            word.copy_from_slice(&(self.mapped + TYPE).to_le_bytes());
        }
        memory
    }

    fn hit(&self) -> Hit {
        Hit {
            site: 0,
            pid: 1,
            tid: 1,
            comm: "guards".into(),
            time_ns: 1,
            registers: BTreeMap::from([
                (RDI, self.elements),
                (RSI, self.len as u64),
                (RDX, self.itab),
                (RCX, self.data),
                (RIP, self.mapped + SITE),
            ]),
            memory: BTreeMap::from([(MEMORY, self.memory())]),
            stack: Vec::new(),
        }
    }

    fn word(&self, base: u64, offset: u64) -> Option<u64> {
        let at = base.wrapping_add(offset).checked_sub(MEMORY).filter(|at| *at < SIZE)?;
        let memory = self.memory();
        let bytes = memory.get(at as usize..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// The values that are expected.
    fn values(&self) -> [Value<'static>; 2] {
        let read =
            |base, offset| self.word(base, offset).map_or(Value::Unreadable, Value::Unsigned);
        let element = if self.len > 3 { read(self.elements, 24) } else { Value::Missing };
        let field = match (self.itab, self.word(self.itab, 8)) {
            (0, _) => Value::Missing,
            (_, None) => Value::Unreadable,
            (_, Some(ty)) if ty == self.mapped + TYPE => read(self.data, 16),
            _ => Value::Missing,
        };
        [element, field]
    }
}

fn session(options: &Options, backend: &Simulated) -> Session {
    let (plan, warnings) = Plan::new(&[sample::selected(probe())], options).unwrap();
    assert_eq!(warnings, []);
    Session::start(plan, backend).unwrap()
}

proptest! {
    #[test]
    fn values_are_read_only_if_they_exist(state in state()) {
        let backend = Simulated::default();
        let mut session = session(&Options::default(), &backend);
        backend.hit(&state.hit());
        let mut values = Vec::new();
        session.drain(|event| {
            values = event.args().map(|(_, value)| format!("{value:?}")).collect();
        }).unwrap();
        let expected = state.values().map(|value| format!("{value:?}"));
        prop_assert_eq!(values, expected);
    }

    #[test]
    fn comparisons_with_values_that_do_not_exist_are_false(state in state()) {
        for (filter, test) in [
            ("element != 5", (|n| n != 5) as fn(u64) -> bool),
            ("element == 5", |n| n == 5),
            ("element >= 0", |_| true),
        ] {
            let options = Options {
                mode: Mode::Count { by: Vec::new() },
                filter: Some(Filter::parse(filter).unwrap()),
                ..Options::default()
            };
            let backend = Simulated::default();
            let session = session(&options, &backend);
            backend.hit(&state.hit());
            let is_counted = session.summary().unwrap().filtered == 0;
            let [element, _] = state.values();
            let expected = matches!(element, Value::Unsigned(n) if test(n));
            prop_assert_eq!(is_counted, expected, "{}", filter);
        }
    }
}
