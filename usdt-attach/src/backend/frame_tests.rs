//! Property tests of calls paired by their frames, on the simulated back end.

use super::simulated::{Hit, Simulated};
use crate::discover::select::Glob;
use crate::discover::{Probe, Source, sample};
use crate::event::counts::{LabelValue, Total};
use crate::filter::{Filter, Subject};
use crate::plan::{Mode, Options, Plan, Scale};
use crate::session::{Session, Summary};
use gobinary::symbol_pattern::FUNCTIONS;
use proptest::prelude::*;
use stapsdt::schema::Kind;
use std::collections::BTreeMap;

/// Offsets of registers in `pt_regs`.
const R14: i16 = 8;
const RSP: i16 = 152;
const RDI: i16 = 112;
const RSI: i16 = 104;
/// The address of the first goroutine's `runtime.g`, and the distance to the next one.
const G: u64 = 0xc000;
const G_SIZE: u64 = 0x1000;

/// What a goroutine does.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Calls a function with a frame of this many words.
    Call {
        words: u64,
    },
    Return,
    /// A panic unwinds this many calls, or all.
    Panic {
        calls: usize,
    },
    /// The stack moves.
    Grow,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => (1..4u64).prop_map(|words| Step::Call { words }),
        4 => Just(Step::Return),
        1 => (1..4usize).prop_map(|calls| Step::Panic { calls }),
        1 => Just(Step::Grow),
    ];
    (0..3usize, step)
}

/// A goroutine: where its stack is, and its open calls.
#[derive(Clone, Default)]
struct Goroutine {
    moves: u64,
    calls: Vec<Call>,
}

/// An open call.
#[derive(Clone, Copy)]
struct Call {
    /// When it began.
    start: u64,
    /// The distance of the stack pointer from the top of the stack.
    depth: u64,
}

impl Goroutine {
    fn hit(&self, index: usize, site: u32, depth: u64, time_ns: u64) -> Hit {
        let (g, top) = (G + index as u64 * G_SIZE, 0x10_0000 * (self.moves + 1));
        Hit {
            site,
            pid: 7,
            tid: 8,
            time_ns,
            registers: BTreeMap::from([
                (R14, g),
                (RSP, top - depth),
                (RDI, time_ns),
                (RSI, time_ns % 2),
            ]),
            memory: BTreeMap::from([(g + 8, top.to_le_bytes().to_vec())]),
            ..Hit::default()
        }
    }
}

/// The outcome of some steps: the time of each call by its start.
struct Outcome {
    returned: BTreeMap<u64, i128>,
    measured: BTreeMap<u64, i128>,
    summary: Summary,
}

/// Runs the steps. If `filtered`, only calls that start at an odd time pass the filter. Takes one
/// call in `sample`.
fn run(steps: &[(usize, Step)], filtered: bool, sample: u32) -> Outcome {
    let kinds = [("call", Kind::Int), ("odd", Kind::Int)];
    let function = |name: &str, probe| Probe {
        provider: FUNCTIONS.into(),
        name: name.into(),
        source: Source::Function,
        ..probe
    };
    let entry = function("f", sample::described("8@%rdi 8@%rsi", &kinds));
    let exit = function("f%return", sample::described("", &[]));
    let subject = Subject { name: "call".into(), string: false };
    let mode = Mode::Latency {
        start: Glob::new("func:f"),
        end: Glob::new("func:f%return"),
        key: None,
        by: vec![subject],
        scale: Scale::Log2,
    };
    let filter = filtered.then(|| Filter::parse("odd == 1").unwrap());
    let options = Options { mode, filter, sample: Some(sample), ..Options::default() };
    let selected = [entry, exit].map(sample::selected);
    let (plan, warnings) = Plan::new(&selected, &options).unwrap();
    assert_eq!(warnings, []);
    let backend = Simulated::default();
    let session = Session::start(plan, &backend).unwrap();
    let mut goroutines = vec![Goroutine::default(); 3];
    let mut returned = BTreeMap::new();
    for (time, (index, step)) in (1u64..).zip(steps) {
        let goroutine = &mut goroutines[*index];
        match *step {
            Step::Call { words } => {
                let depth = goroutine.calls.last().map_or(8, |call| call.depth) + 8 * words;
                goroutine.calls.push(Call { start: time, depth });
                backend.hit(&goroutine.hit(*index, 0, depth, time));
            }
            Step::Return => {
                let Some(call) = goroutine.calls.pop() else { continue };
                backend.hit(&goroutine.hit(*index, 1, call.depth, time));
                if !filtered || call.start % 2 == 1 {
                    returned.insert(call.start, i128::from(time - call.start));
                }
            }
            Step::Panic { calls } => {
                let left = goroutine.calls.len().saturating_sub(calls);
                goroutine.calls.truncate(left);
            }
            Step::Grow => goroutine.moves += 1,
        }
    }
    let measured = session.rows().unwrap();
    let measured = measured.iter().map(|row| match (&row.labels[0].1, &row.total) {
        (LabelValue::Unsigned(call), Total::Histogram(h)) if h.counts.iter().sum::<u64>() == 1 => {
            (*call, h.sum)
        }
        other => panic!("{other:?}"),
    });
    let measured = measured.collect();
    Outcome { returned, measured, summary: session.summary().unwrap() }
}

#[test]
fn samples_calls_at_their_entries() {
    let call = [(0, Step::Call { words: 2 }), (0, Step::Return)];
    let Outcome { measured, summary, .. } = run(&call.repeat(10), false, 2);
    assert_eq!(measured.len(), 5);
    assert_eq!((summary.filtered, summary.unpaired.unwrap().unmatched_ends), (5, 5));
}

proptest! {
    /// Each return finds the entry of its own call, and each call has one outcome.
    #[test]
    fn pairs_each_return_with_its_own_call(
        steps in proptest::collection::vec(step(), 0..400),
    ) {
        let Outcome { returned, measured, summary } = run(&steps, false, 1);
        prop_assert_eq!(&measured, &returned);
        let unpaired = summary.unpaired.unwrap();
        prop_assert_eq!((unpaired.unmatched_ends, unpaired.overwritten), (0, 0));
        let entries = summary.hits - returned.len() as u64;
        let others = unpaired.unwound.unwrap() + unpaired.unmatched_starts;
        prop_assert_eq!(entries, returned.len() as u64 + others);
    }

    /// A call that the filter rejects does not return in place of one that was unwound.
    #[test]
    fn rejected_calls_take_no_entry_of_another_call(
        steps in proptest::collection::vec(step(), 0..400),
    ) {
        let Outcome { returned, measured, .. } = run(&steps, true, 1);
        prop_assert_eq!(measured, returned);
    }
}
