//! The library as agents embed it: its examples, and the simulated backend, which needs no kernel.

use std::collections::BTreeMap;
use usdt_attach::backend::simulated::{Hit, Simulated};
use usdt_attach::discover;
use usdt_attach::discover::select::{Glob, select};
use usdt_attach::event::Value;
use usdt_attach::event::counts::{LabelValue, Total};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::plan::{self, Options, Plan, Scale};
use usdt_attach::session::{Session, Unpaired};
use usdt_e2e::{Fixture, Mode, Need, Process, command, copy, have, tools};

#[test]
fn library_examples_run() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let examples = tools().join("examples");
    for (example, args, expected) in [
        ("agent", &["e2e:hit"][..], " n=99 text=xxxxxxxxxxxxxxxxxxx99\n"),
        (
            "tokio_agent",
            &["e2e:hit"],
            "100 events, Summary { hits: 100, delivered: 100, dropped: 0",
        ),
        ("aggregator", &["e2e:hit", "n"], "100 values, mean 49.500, deviation 28.866\n"),
    ] {
        let app = copy(&Fixture::get("hits", Mode::Sealed));
        let target = Process::start(command(&app.path).args(["-per", "100", "-linger", "100ms"]));
        target.wait_for_exec(&app.path);
        let agent = Process::start(
            command(examples.join(example)).arg(target.pid().to_string()).args(args),
        );
        let (status, _, errors) = target.finish();
        assert!(status.success(), "{errors}");
        let (status, out, errors) = agent.finish();
        assert!(status.success(), "{example}: {errors}");
        assert!(out.contains(expected), "{example}: {out} {errors}");
    }
}

/// Starts a session on a fixture's probes with the simulated backend. Returns it with the cookie of
/// each site by probe name.
fn simulated_session(
    package: &'static str,
    globs: &[&str],
    options: &Options,
) -> (Session, Simulated, Vec<(String, u32)>) {
    let found = [discover::scan_file(&Fixture::get(package, Mode::Sealed)).unwrap()];
    let globs: Vec<String> = globs.iter().map(|g| (*g).to_owned()).collect();
    let (plan, warnings) = Plan::new(&select(&found, &globs).unwrap(), options).unwrap();
    assert_eq!(warnings, []);
    let name = |s: &plan::Site| (plan.probe(s).unwrap().name.clone(), s.cookie);
    let sites = plan.sites().into_iter().map(name).collect();
    let backend = Simulated::default();
    (Session::start(plan, &backend).unwrap(), backend, sites)
}

/// Builds a hit with its arguments in registers. `u64::MAX` stands for a pointer to `string`.
fn hit(site: u32, goid: u64, words: &[u64], string: &str) -> Hit {
    const STRING_ADDRESS: u64 = 0x50_0000;
    /// Offsets in `pt_regs` of rdi, rsi, rdx, rcx, r8.
    const OFFSETS: [i16; 5] = [112, 104, 96, 88, 72];
    let words = words.iter().map(|word| if *word == u64::MAX { STRING_ADDRESS } else { *word });
    let registers = OFFSETS.into_iter().zip(words.chain([goid])).collect();
    Hit {
        site,
        pid: 7,
        tid: 8,
        comm: "simulated".into(),
        time_ns: 5_000_000_000,
        registers,
        memory: BTreeMap::from([(STRING_ADDRESS, string.as_bytes().to_vec())]),
        stack: Vec::new(),
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn simulated_backend_filters_and_limits_hits() {
    let filter = Some(Filter::parse("n >= 2 && text == 'GE*'").unwrap());
    let (mut session, backend, sites) = simulated_session(
        "hits",
        &["e2e:hit"],
        &Options { filter, limit: Some(2), ..Options::default() },
    );
    let site = sites[0].1;
    for (n, text) in [(1, "GET"), (2, "GET"), (3, "POST"), (4, "GEX"), (5, "GET")] {
        backend.hit(&hit(site, 42, &[9, n, u64::MAX, text.len() as u64], text));
    }
    let mut seen = Vec::new();
    session
        .drain(|event| {
            assert_eq!(
                (event.pid, event.tid, event.goid, event.comm()),
                (7, 8, Some(42), &b"simulated"[..])
            );
            let args: Vec<(String, String)> =
                event.args().map(|(n, v)| (n.to_owned(), format!("{v:?}"))).collect();
            assert_eq!(args[0].1, format!("{:?}", Value::Unsigned(9)));
            seen.push(args[1].1.clone());
        })
        .unwrap();
    assert_eq!(seen, ["Unsigned(2)", "Unsigned(4)"]);
    let summary = session.summary().unwrap();
    assert_eq!((summary.hits, summary.delivered, summary.filtered, summary.dropped), (4, 2, 2, 0));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn simulated_backend_measures_latency() {
    let mode = plan::Mode::Latency {
        start: Glob::new("ops:begin"),
        end: Glob::new("ops:end"),
        key: None,
        by: vec![Subject::parse("kind").unwrap()],
        scale: Scale::Log2,
    };
    let (session, backend, sites) =
        simulated_session("pairs", &["ops:*"], &Options { mode, ..Options::default() });
    let site = |name: &str| sites.iter().find(|(n, _)| n == name).unwrap().1;
    let at = |hit: Hit, time_ns| backend.hit(&Hit { time_ns, ..hit });
    let begin =
        |goid, kind: &str| hit(site("begin"), goid, &[1, u64::MAX, kind.len() as u64], kind);
    let end = |goid| hit(site("end"), goid, &[1, 200], "");
    at(begin(1, "read"), 1000);
    at(begin(2, "write"), 1500);
    at(begin(1, "sync"), 2000);
    at(end(1), 2700);
    at(end(2), 1503);
    at(end(3), 9000);
    at(begin(4, "read"), 9500);
    let rows = session.rows().unwrap();
    let read: Vec<(LabelValue, i128)> = rows
        .iter()
        .map(|row| match &row.total {
            Total::Histogram(h) => (row.labels[0].1.clone(), h.sum),
            Total::Count(_) => panic!("{row:?}"),
        })
        .collect();
    let text = |text: &str| LabelValue::String(text.into(), false);
    assert_eq!(read, [(text("sync"), 700), (text("write"), 3)]);
    let unpaired = session.summary().unwrap().unpaired;
    assert_eq!(
        unpaired,
        Some(Unpaired { unmatched_starts: 2, unmatched_ends: 1, ..Unpaired::default() })
    );
}

/// Each parent that a span names was exported, in the same trace.
fn assert_parents_exist(spans: &[usdt_export::span::Span]) {
    let traces: BTreeMap<[u8; 8], [u8; 16]> =
        spans.iter().map(|span| (span.span_id, span.trace_id)).collect();
    assert_eq!(traces.len(), spans.len(), "each span is exported once");
    for span in spans {
        let Some(parent) = span.parent_id else { continue };
        assert_eq!(traces.get(&parent), Some(&span.trace_id), "{span:?}");
    }
}

/// Nested spans of one goroutine and one entry, in random order, against an unbounded stack. The
/// limit is so low that spans are given up while they enclose others.
#[test]
#[cfg(target_arch = "x86_64")]
fn simulated_backend_nests_spans() {
    use usdt_export::config;
    use usdt_export::span::{Attribute, Pairing};
    let entry = || config::Span {
        start: "ops:begin".into(),
        end: "ops:end".into(),
        name: Some("{kind} {status}".into()),
        ..config::Span::default()
    };
    let goroutine = |goid: &str| config::Span { key: Some(goid.into()), ..entry() };
    for (limit, key) in [(1000, entry()), (1000, goroutine("goid")), (12, entry())] {
        let (mut session, backend, sites) =
            simulated_session("pairs", &["ops:*"], &Options::default());
        let site = |name: &str| sites.iter().find(|(n, _)| n == name).unwrap().1;
        let mut pairing = Pairing::new(&[key], limit);
        let mut spans = Vec::new();
        let mut stacks: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        // The innermost call that is open at each start, by the number of the start.
        let (mut enclosing, mut ended, mut unmatched) = (BTreeMap::new(), BTreeMap::new(), 0);
        let mut state = limit as u64;
        for step in 1..3000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let goid = 1 + (state >> 40 & 3);
            let stack = stacks.entry(goid).or_default();
            let is_start = state >> 60 < 9 && stack.len() < 30;
            let fired = match is_start {
                true => hit(site("begin"), goid, &[step, u64::MAX, 4], "read"),
                false => hit(site("end"), goid, &[step, 200], ""),
            };
            backend.hit(&Hit { time_ns: step * 1_000_000, ..fired });
            if is_start {
                enclosing.insert(step, stack.last().copied());
                stack.push(step);
            } else if let Some(start) = stack.pop() {
                ended.insert(start, step);
            } else {
                unmatched += 1;
            }
            session.drain(|event| pairing.add_event(event, |span| spans.push(span))).unwrap();
            assert!(pairing.open_spans() <= limit);
        }
        pairing.discard_processes(|_| false, |span| spans.push(span));
        assert_parents_exist(&spans);
        let counts = pairing.counts();
        if limit < 1000 {
            assert!(counts.unfinished > 0 && counts.complete > 100, "{counts:?}");
            continue;
        }
        assert_eq!((counts.complete, counts.without_start), (ended.len() as u64, unmatched));
        let number = |span: &usdt_export::span::Span| {
            let id = span.attributes.iter().find(|(name, _)| name == "id").unwrap();
            let Attribute::Int(id) = id.1 else { panic!("{id:?}") };
            id as u64
        };
        let starts: BTreeMap<[u8; 8], u64> =
            spans.iter().map(|span| (span.span_id, number(span))).collect();
        for span in &spans {
            let start = number(span);
            assert_eq!(span.parent_id.map(|id| starts[&id]), enclosing[&start], "{span:?}");
            match ended.get(&start) {
                Some(end) => {
                    assert_eq!(span.name, "read 200", "the name has an argument of the end");
                    let duration = (span.end_ns - span.start_ns) as i64;
                    // The offset between the clocks is measured for each batch.
                    let difference = (duration - (end - start) as i64 * 1_000_000).abs();
                    assert!(difference < 500_000, "{span:?}");
                }
                None => {
                    assert_eq!(span.name, "read");
                    let unfinished = ("usdt.unfinished".to_owned(), Attribute::Bool(true));
                    assert!(span.attributes.contains(&unfinished), "{span:?}");
                }
            }
        }
    }
}

/// Pairs starts and ends in random order: each start is complete, lost or still open, and never two
/// of these.
#[test]
#[cfg(target_arch = "x86_64")]
fn simulated_backend_pairs_spans() {
    use usdt_export::config;
    use usdt_export::span::{Attribute, Pairing};
    const LIMIT: usize = 8;
    const MICRO: u64 = 1000;
    let entry = config::Span {
        start: "ops:begin".into(),
        end: "ops:end".into(),
        key: Some("id".into()),
        name: Some("{kind} {id} {".into()),
        error: Some("status".into()),
        error_at: Some(500),
        ..config::Span::default()
    };
    let (mut session, backend, sites) = simulated_session("pairs", &["ops:*"], &Options::default());
    let site = |name: &str| sites.iter().find(|(n, _)| n == name).unwrap().1;
    let mut pairing = Pairing::new(&[entry], LIMIT);
    let mut spans = Vec::new();
    let mut fire = |is_start: bool, goid: u64, id: u64, time: u64| {
        let fired = match is_start {
            true => hit(site("begin"), goid, &[id, u64::MAX, 4], "read"),
            false => hit(site("end"), goid, &[id, 500 + id % 2 - 1], ""),
        };
        backend.hit(&Hit { time_ns: time * MICRO, ..fired });
        session.drain(|event| pairing.add_event(event, |span| spans.push(span))).unwrap();
        (spans.len() as u64, pairing.counts(), pairing.open_spans())
    };
    // Two nested spans of one goroutine; the outer one may end first.
    fire(true, 1, 10, 1000);
    fire(true, 1, 11, 2000);
    fire(true, 2, 12, 2500);
    for (id, time) in [(10, 3000), (11, 4000), (12, 5000), (13, 6000)] {
        fire(false, 1, id, time);
    }
    // A repeated argument replaces the open start, and starts beyond the limit evict the oldest.
    let mut started = 3;
    let mut state = 1u64;
    for step in 0..2000u64 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let is_start = state >> 60 < 9;
        started += u64::from(is_start);
        let (ended, counts, waiting) =
            fire(is_start, state >> 40 & 3, 100 + (state >> 50 & 15), 10_000 + step);
        assert_eq!(counts.complete + counts.unfinished, ended);
        let given_up = counts.without_end + counts.unfinished;
        assert_eq!(started, counts.complete + given_up + waiting as u64, "step {step}");
        assert!(waiting <= LIMIT);
    }
    pairing.discard_processes(|_| false, |span| spans.push(span));
    assert_eq!(pairing.open_spans(), 0);
    assert_parents_exist(&spans);
    let [outer, inner, other, ..] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(outer.name, "read 10 {");
    // The offset between the clocks is measured for each batch.
    assert!((outer.end_ns - outer.start_ns).abs_diff(2000 * MICRO) < MICRO, "{outer:?}");
    assert_eq!((inner.parent_id, inner.trace_id), (Some(outer.span_id), outer.trace_id));
    assert!(
        other.parent_id.is_none() && other.trace_id != outer.trace_id,
        "a span of another goroutine"
    );
    assert_eq!((outer.error.as_deref(), inner.error.as_deref()), (None, Some("status 500")));
    let kind = ("kind".to_owned(), Attribute::String("read".into()));
    assert!(
        outer.attributes.contains(&kind) && outer.attributes.len() == 3,
        "{:?}",
        outer.attributes
    );
}
