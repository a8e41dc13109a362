//! Property tests of nested calls, on the simulated back end.

use super::simulated::{Hit, Simulated};
use crate::discover::select::Glob;
use crate::discover::{Probe, sample};
use crate::event::counts::{LabelValue, Total};
use crate::filter::Subject;
use crate::plan::nesting::OUTERMOST;
use crate::plan::{MAX_NESTED_CALLS, Mode, Options, Plan, Scale};
use crate::session::{Session, Unpaired};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Offset of rdi in `pt_regs`.
const RDI: i16 = 112;

/// Starts a session that measures the time from `begin` to `end`, by the argument `call` of
/// `begin`. Also returns the cookies of both sites.
fn session(key: Option<&str>, options: Options) -> (Session, Simulated, [u32; 2]) {
    let kinds = [("call", stapsdt::schema::Kind::Int)];
    let begin = Probe { name: "begin".into(), ..sample::described("8@%rdi", &kinds) };
    let end = match key {
        Some(_) => Probe { name: "end".into(), ..begin.clone() },
        None => Probe { name: "end".into(), ..sample::described("", &[]) },
    };
    let subject = |name: &str| Subject { name: name.into(), string: false };
    let mode = Mode::Latency {
        start: Glob::new("begin"),
        end: Glob::new("end"),
        key: key.map(subject),
        by: vec![subject("call")],
        scale: Scale::Log2,
    };
    let selected = [begin, end].map(sample::selected);
    let (plan, warnings) = Plan::new(&selected, &Options { mode, ..options }).unwrap();
    assert_eq!(warnings, []);
    let cookies = ["begin", "end"].map(|name| {
        let is_named = |site: &&&crate::plan::Site| plan.probe(site).unwrap().name == name;
        plan.sites().iter().find(is_named).unwrap().cookie
    });
    let backend = Simulated::default();
    (Session::start(plan, &backend).unwrap(), backend, cookies)
}

/// A hit of a start or an end in one of several threads. The time is the number of the hit.
#[derive(Clone, Copy, Debug)]
struct Step {
    is_start: bool,
    tid: u32,
}

/// Returns the calls that were measured, by the time of their start, with their durations.
fn measured(session: &Session) -> BTreeMap<u64, i128> {
    let rows = session.rows().unwrap();
    let call = |row: &crate::event::counts::Row| match (&row.labels[0].1, &row.total) {
        (LabelValue::Unsigned(call), Total::Histogram(h)) if h.counts.iter().sum::<u64>() == 1 => {
            (*call, h.sum)
        }
        other => panic!("{other:?}"),
    };
    rows.iter().map(call).collect()
}

/// An open call of the model.
struct Open {
    start: u64,
    is_lost: bool,
}

/// The outcome of the model: an unbounded stack for each thread.
fn expected(steps: &[Step]) -> (BTreeMap<u64, i128>, Unpaired) {
    let (outermost, max) = (OUTERMOST as usize, MAX_NESTED_CALLS as usize);
    let mut threads: BTreeMap<u32, Vec<Open>> = BTreeMap::new();
    let (mut calls, mut unpaired) = (BTreeMap::new(), Unpaired::default());
    for (time, step) in (1u64..).zip(steps) {
        let stack = threads.entry(step.tid).or_default();
        if step.is_start {
            if let Some(lost) = stack.len().checked_sub(max - outermost)
                && lost >= outermost
            {
                stack[lost].is_lost = true;
            }
            stack.push(Open { start: time, is_lost: false });
            continue;
        }
        match stack.pop() {
            None => unpaired.unmatched_ends += 1,
            Some(Open { is_lost: true, .. }) => unpaired.too_deep += 1,
            Some(Open { start, .. }) => drop(calls.insert(start, i128::from(time - start))),
        }
    }
    unpaired.unmatched_starts = threads.values().flatten().count() as u64;
    (calls, unpaired)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = |starts: u32| {
        (0..100u32, 1..4u32).prop_map(move |(n, tid)| Step { is_start: n < starts, tid })
    };
    // Parts in which most hits are starts, and parts in which most are ends.
    let part = prop_oneof![Just(85), Just(50), Just(15)]
        .prop_flat_map(move |starts| proptest::collection::vec(step(starts), 0..120));
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

fn run(steps: &[Step]) -> (BTreeMap<u64, i128>, Unpaired, crate::session::Summary) {
    let (session, backend, [begin, end]) = session(None, Options::default());
    for (time, step) in (1u64..).zip(steps) {
        backend.hit(&Hit {
            site: if step.is_start { begin } else { end },
            pid: 7,
            tid: step.tid,
            time_ns: time,
            registers: BTreeMap::from([(RDI, time)]),
            ..Hit::default()
        });
    }
    let summary = session.summary().unwrap();
    (measured(&session), summary.unpaired.unwrap(), summary)
}

proptest! {
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn pairs_nested_calls_as_a_stack(steps in steps()) {
        let (calls, unpaired, summary) = run(&steps);
        let (expected_calls, expected_unpaired) = expected(&steps);
        prop_assert_eq!(calls, expected_calls);
        prop_assert_eq!(unpaired, expected_unpaired);
        prop_assert_eq!((summary.hits, summary.dropped), (steps.len() as u64, 0));
    }
}

/// Starts whose ends never come do not keep later calls from being measured, nor are they paired.
#[test]
#[cfg(target_arch = "x86_64")]
fn lost_ends_do_not_stop_later_calls() {
    let [start, end] = [true, false].map(|is_start| Step { is_start, tid: 1 });
    let mut steps = vec![start; 100];
    for _ in 0..50 {
        steps.extend([start, start, end, end, start]);
    }
    let (calls, unpaired, _) = run(&steps);
    assert_eq!(calls.len(), 100);
    assert!(calls.values().all(|duration| [1, 3].contains(duration)), "{calls:?}");
    assert_eq!((unpaired.unmatched_ends, unpaired.too_deep), (0, 0));
    assert_eq!(unpaired.unmatched_starts, 150);
}

/// A dropped start is still part of the stack: its end does not take the start around it.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_full_map_of_starts_does_not_shift_other_pairs() {
    let options = Options { entries: 2, ..Options::default() };
    let (session, backend, [begin, end]) = session(None, options);
    let sites = [begin, begin, begin, begin, end, end, end, end];
    for (time, site) in (1u64..).zip(sites) {
        let registers = BTreeMap::from([(RDI, time)]);
        backend.hit(&Hit { site, pid: 7, tid: 1, time_ns: time, registers, ..Hit::default() });
    }
    let summary = session.summary().unwrap();
    // The fourth start found no space, and the table has space for two rows.
    assert_eq!((summary.hits, summary.dropped), (8, 2));
    assert_eq!(measured(&session), BTreeMap::from([(2, 5), (3, 3)]));
    let unpaired = Unpaired { unmatched_ends: 1, ..Unpaired::default() };
    assert_eq!(summary.unpaired, Some(unpaired));
}

/// An argument identifies one call: a start replaces the one before with the same value.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_start_replaces_another_one_with_the_same_argument() {
    let (session, backend, [begin, end]) = session(Some("call"), Options::default());
    for (time, site) in [(10, begin), (20, begin), (25, end), (30, end)] {
        let registers = BTreeMap::from([(RDI, 5)]);
        backend.hit(&Hit { site, pid: 7, tid: 1, time_ns: time, registers, ..Hit::default() });
    }
    assert_eq!(measured(&session), BTreeMap::from([(5, 5)]));
    let unpaired = Unpaired { unmatched_ends: 1, overwritten: 1, ..Unpaired::default() };
    assert_eq!(session.summary().unwrap().unpaired, Some(unpaired));
}
