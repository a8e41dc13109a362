//! Counts, histograms and times, which the kernel keeps: filters, keys, samples; the same from both back ends.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::select::Glob;
use usdt_attach::discover::{self, select};
use usdt_attach::event::counts::{Histogram, LabelValue, Row, Total};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::plan::{self, Options, Plan, Scale};
use usdt_attach::session::{Mechanism, Session, Summary, Unpaired};
use usdt_e2e::{Fixture, Mode, Need, Process, attach, command, copy, have, lines, text, tools};

const BACKENDS: [BackendKind; 2] = [BackendKind::Embedded, BackendKind::Bcc];

fn start(pid: u32, globs: &[&str], options: Options, backend: BackendKind) -> Session {
    let found = discover::scan_process(pid).unwrap();
    let globs: Vec<String> = globs.iter().map(|g| (*g).to_owned()).collect();
    let chosen = select::select(&found, &globs).unwrap();
    let (plan, warnings) =
        Plan::new(&chosen, &Options { pids: Some(vec![pid]), ..options }).unwrap();
    assert_eq!(warnings, []);
    Session::start(plan, &*backend.backend(Mechanism::Auto).unwrap()).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::parse(name).unwrap()
}

fn subjects(names: &[&str]) -> Vec<Subject> {
    names.iter().map(|n| subject(n)).collect()
}

/// A process that fires when it is interrupted, or for its own reasons.
fn target(package: &'static str, args: &[&str]) -> (usdt_e2e::Copy, Process) {
    let app = copy(&Fixture::get(package, Mode::Sealed));
    let target = Process::start(command(&app.path).args(args));
    target.wait_until_it_runs(&app.path);
    (app, target)
}

#[test]
fn filters() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("hits", &["-types", "-signal"]);
    let own_pid = format!("pid == {}", target.pid());
    let other_pid = format!("pid != {}", target.pid());
    // Three hits: everything, nothing, long texts. See `everyType` of the program.
    let more: &[(&str, u64)] = &[
        ("u64 == 18446744073709551615", 1),
        ("u64 > 0", 2),
        ("u64 >= -5", 3),
        ("u64 == 99999999999999999999999", 0),
        ("u64", 2),
        ("f == 1.5", 1),
        ("f > 1", 2),
        ("f <= 1.5 && f >= -1e30", 2),
        ("d < 0", 1),
        ("d == 0", 1),
        ("d >= -100", 2),
        ("d != 5", 3),
        ("d == -2.25 || f == 0", 2),
        ("ok", 2),
        ("ok == false", 1),
        ("!ok", 1),
        ("cstring == 'C \"text\"'", 1),
        ("cstring == 'C \"text\" '", 0),
        ("cstring == 'C \"text'", 0),
        ("cstring == ''", 1),
        ("cstring == 'c*'", 1),
        ("cstring == '*'", 3),
        ("cstring != 'C*'", 2),
        ("err == nil", 1),
        ("err != nil", 2),
        ("err == 'it broke\\n'", 1),
        ("err == 'it broke'", 0),
        ("err == 'e*'", 1),
        ("err == 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee*'", 1),
        ("p != nil", 1),
        ("arg0 == 1", 1),
        ("comm == 'hits*'", 3),
        ("comm == 'hits-sealed'", 3),
        ("comm == 'hits'", 0),
        (&own_pid, 3),
        (&other_pid, 0),
        ("goid == 1", 3),
        ("tid > 0 && (ok || u64 == 0)", 3),
        ("!(ok && u64 == 1)", 2),
        ("!(ok || u64 == 0) || err == 'it*' && p != nil", 1),
    ];
    let narrow: &[(&str, u64)] = &[
        ("c < 0", 1),
        ("c == 255", 0),
        ("i8 == -128", 1),
        ("i16 == -32768 && u16 == 65535", 1),
        ("i32 > 0", 0),
        ("i64 == -9223372036854775808", 1),
        ("i64 < -9223372036854775807", 1),
        ("i64 < -9223372036854775809", 0),
        ("u8 == 255", 1),
        ("u8 == -1", 0),
        ("u32 > 4294967294", 1),
    ];
    let mut sessions = Vec::new();
    for (probe, hits, cases) in [("e2e:more-types", 3, more), ("e2e:types", 1, narrow)] {
        for (filter, expected) in cases {
            for backend in BACKENDS {
                let options = Options {
                    mode: plan::Mode::Count { by: Vec::new() },
                    filter: Some(Filter::parse(filter).unwrap()),
                    ..Options::default()
                };
                // libbcc takes most of a second for each: every fifth is enough to tell it from the other.
                if backend == BackendKind::Bcc && !sessions.len().is_multiple_of(5) {
                    continue;
                }
                let session = start(target.pid(), &[probe], options, backend);
                sessions.push((session, *filter, backend, hits, *expected));
            }
        }
    }
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    for (session, filter, backend, hits, expected) in sessions {
        let summary = session.summary().unwrap();
        let wanted = Summary {
            hits,
            delivered: expected,
            filtered: hits - expected,
            dropped: 0,
            unpaired: None,
        };
        assert_eq!(summary, wanted, "{filter} by {backend:?}");
    }
}

fn count(row: &Row) -> u64 {
    row.total.count()
}

fn histogram(row: &Row) -> &Histogram {
    match &row.total {
        Total::Histogram(histogram) => histogram,
        Total::Count(_) => panic!("{row:?}"),
    }
}

/// How many values are 0, and how many are at most so many powers of two of the unit, by the exponent.
fn powers(row: &Row) -> (u64, BTreeMap<i32, u64>) {
    let histogram = histogram(row);
    let zero = histogram.buckets.index(0);
    let used = histogram.counts.iter().enumerate().filter(|(index, n)| *index != zero && **n > 0);
    let powers =
        used.map(|(index, n)| (histogram.buckets.exponent(index).unwrap().1, *n)).collect();
    (histogram.counts[zero], powers)
}

#[test]
fn counts_and_histograms() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("hits", &["-per", "1000", "-goroutines", "3", "-signal"]);
    let count_by = |names: &[&str]| plan::Mode::Count { by: subjects(names) };
    let of = |value: &str, scale, by: &[&str]| plan::Mode::Histogram {
        value: subject(value),
        scale,
        by: subjects(by),
    };
    let works = [
        count_by(&[]),
        count_by(&["text"]),
        count_by(&["self", "text"]),
        count_by(&["comm", "pid"]),
        of("n", Scale::Log2, &[]),
        of("n", Scale::Log2, &["self"]),
        of("n", Scale::Linear { low: 100, high: 450, step: 100 }, &[]),
        of("n", Scale::Linear { low: -10, high: 10, step: 5 }, &["comm"]),
        of("n", Scale::Exponential { unit: 1 }, &[]),
        of("n", Scale::Exponential { unit: 1000 }, &["comm"]),
    ];
    let sessions: Vec<(Session, Session)> = works
        .into_iter()
        .map(|work| {
            let [one, other] = BACKENDS.map(|backend| {
                let options = Options { mode: work.clone(), ..Options::default() };
                start(target.pid(), &["e2e:hit"], options, backend)
            });
            (one, other)
        })
        .collect();
    let few = Options { mode: count_by(&["text"]), entries: 7, ..Options::default() };
    let few = start(target.pid(), &["e2e:hit"], few, BackendKind::Embedded);
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    let mut all = Vec::new();
    for (embedded, bcc) in &sessions {
        let sorted = |session: &Session| {
            let mut rows = session.rows().unwrap();
            rows.sort_by_key(|row| format!("{row:?}"));
            rows
        };
        assert_eq!(sorted(embedded), sorted(bcc));
        for session in [embedded, bcc] {
            let summary = session.summary().unwrap();
            assert_eq!((summary.hits, summary.delivered), (3000, 3000));
        }
        all.push(embedded.rows().unwrap());
    }
    assert_eq!(all[0].iter().map(count).collect::<Vec<_>>(), [3000]);
    assert_eq!(all[1].len(), 100);
    assert!(all[1].iter().all(|row| count(row) == 30));
    let longest = format!("{}39", "x".repeat(39));
    assert!(
        all[1]
            .iter()
            .any(|row| row.labels[0].1 == LabelValue::String(longest.clone().into(), false))
    );
    assert_eq!(all[2].len(), 300);
    assert_eq!(all[3].len(), 1, "{:?}", all[3]);
    assert_eq!(all[3][0].labels[1], ("pid".to_owned(), LabelValue::Unsigned(target.pid().into())));
    let plain = histogram(&all[4][0]);
    assert_eq!((plain.min, plain.max, plain.sum), (0, 999, 3 * 999 * 500));
    assert_eq!(plain.counts[..12], [3, 3, 6, 12, 24, 48, 96, 192, 384, 768, 1464, 0]);
    assert_eq!(all[5].len(), 3);
    assert!(all[5].iter().all(|row| histogram(row).sum == 999 * 500));
    assert_eq!(histogram(&all[6][0]).counts, [300, 300, 300, 300, 150, 1650]);
    assert_eq!(histogram(&all[7][0]).counts, [0, 0, 0, 15, 15, 2970]);
    assert_eq!(
        powers(&all[8][0]),
        (
            3,
            [
                (0, 3),
                (1, 3),
                (2, 6),
                (3, 12),
                (4, 24),
                (5, 48),
                (6, 96),
                (7, 192),
                (8, 384),
                (9, 768),
                (10, 1461)
            ]
            .into()
        )
    );
    // 1, 2 and 3 thousandths are in buckets of their own; 500 is half of the unit, 501 above that.
    assert_eq!(
        powers(&all[9][0]),
        (
            3,
            [
                (-9, 3),
                (-8, 6),
                (-7, 12),
                (-6, 24),
                (-5, 48),
                (-4, 93),
                (-3, 189),
                (-2, 375),
                (-1, 750),
                (0, 1497)
            ]
            .into()
        )
    );
    let summary = few.summary().unwrap();
    assert_eq!((summary.hits, summary.delivered + summary.dropped), (3000, 3000));
    assert_eq!(few.rows().unwrap().len(), 7);
    assert_eq!(few.rows().unwrap().iter().map(count).sum::<u64>(), summary.delivered);
}

/// Every type that can be a key or a value, and the lowest and highest numbers of each.
#[test]
fn keys_of_every_type() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("hits", &["-types", "-signal"]);
    let by = ["u64", "f", "d", "ok"];
    let texts = ["cstring", "data", "err"];
    let sessions: Vec<[Session; 3]> = BACKENDS
        .map(|backend| {
            let count = |names: &[&str]| Options {
                mode: plan::Mode::Count { by: subjects(names) },
                ..Options::default()
            };
            let signed = Options {
                mode: plan::Mode::Histogram {
                    value: subject("i64"),
                    scale: Scale::Log2,
                    by: subjects(&["i8", "u32"]),
                },
                ..Options::default()
            };
            [
                start(target.pid(), &["e2e:more-types"], count(&by), backend),
                start(target.pid(), &["e2e:more-types"], count(&texts), backend),
                start(target.pid(), &["e2e:types"], signed, backend),
            ]
        })
        .into();
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    for [numbers, texts, signed] in &sessions {
        let keys = |session: &Session| {
            let mut keys: Vec<Vec<LabelValue>> = session
                .rows()
                .unwrap()
                .into_iter()
                .map(|r| r.labels.into_iter().map(|(_, k)| k).collect())
                .collect();
            keys.sort_by_key(|k| format!("{k:?}"));
            keys
        };
        let (u, f, b) = (LabelValue::Unsigned, LabelValue::Float, LabelValue::Bool);
        let found = keys(numbers);
        assert_eq!(
            found[1..],
            [vec![u(1), f(0.0), f(0.0), b(true)], vec![u(u64::MAX), f(1.5), f(-2.25), b(true)]]
        );
        assert!(
            matches!(found[0][..], [LabelValue::Unsigned(0), LabelValue::Float(f64::INFINITY), LabelValue::Float(n), LabelValue::Bool(false)] if n.is_nan())
        );
        let text = |text: &str, cut| LabelValue::String(text.into(), cut);
        assert_eq!(
            keys(texts),
            [
                vec![
                    text("C \"text\"", false),
                    LabelValue::Bytes(vec![0, 1, 255], false),
                    text("it broke\n", false)
                ],
                vec![
                    text(&"c".repeat(63), true),
                    LabelValue::Bytes(vec![7; 63], true),
                    text(&"e".repeat(63), true)
                ],
                vec![text("", false), LabelValue::Bytes(vec![], false), text("", false)],
            ]
        );
        let rows = signed.rows().unwrap();
        let one = histogram(&rows[0]);
        assert_eq!((one.min, one.max, one.count()), (i64::MIN.into(), i64::MIN.into(), 1));
        assert_eq!(one.counts[0], 1, "-2^63 is a bucket of its own");
        assert_eq!(rows[0].labels[1].1, LabelValue::Unsigned(u32::MAX.into()));
    }
}

#[test]
fn times_between_two_probes() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("pairs", &[]);
    let mut ready = String::new();
    std::io::BufReader::new(target.0.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let work = |key: Option<&str>, by: &[&str]| plan::Mode::Latency {
        start: Glob::new("ops:begin"),
        end: Glob::new("ops:end"),
        key: key.map(subject),
        by: subjects(by),
        scale: Scale::Log2,
    };
    let works = [
        work(None, &[]),
        work(Some("id"), &[]),
        work(Some("id"), &["kind", "status"]),
        work(Some("tid"), &["pid"]),
    ];
    let sessions: Vec<[Session; 2]> = works
        .iter()
        .map(|work| {
            BACKENDS.map(|backend| {
                let options = Options { mode: work.clone(), ..Options::default() };
                start(target.pid(), &["ops:*"], options, backend)
            })
        })
        .collect();
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    // 4 goroutines, 100 operations each: 10 without an end, 10 without a beginning.
    for [embedded, bcc] in &sessions[..3] {
        assert_eq!(embedded.summary().unwrap(), bcc.summary().unwrap());
    }
    let summary = |i: usize| sessions[i][0].summary().unwrap();
    // By goroutine an end that is missing is followed by the next beginning, which takes its place.
    let unpaired = |unmatched_starts, unmatched_ends, overwritten| {
        Some(Unpaired { unmatched_starts, unmatched_ends, overwritten })
    };
    assert_eq!(
        (summary(0).hits, summary(0).dropped, summary(0).unpaired),
        (720, 0, unpaired(0, 40, 40))
    );
    assert_eq!((summary(1).hits, summary(1).unpaired), (720, unpaired(40, 40, 0)));
    assert_eq!(summary(2).unpaired, unpaired(40, 40, 0));
    for session in &sessions[1] {
        let rows = session.rows().unwrap();
        assert_eq!((rows.len(), count(&rows[0]), rows[0].probe.name.as_str()), (1, 320, "end"));
        let times = histogram(&rows[0]);
        assert!(times.min > 1000 && times.max < 10_000_000_000, "{times:?}");
        assert!(times.sum >= times.min * 320 && times.sum <= times.max * 320);
    }
    let keys = |session: &Session| {
        let mut keys: Vec<(Vec<(String, LabelValue)>, u64)> =
            session.rows().unwrap().iter().map(|row| (row.labels.clone(), count(row))).collect();
        keys.sort_by_key(|key| format!("{key:?}"));
        keys
    };
    assert_eq!(keys(&sessions[2][0]), keys(&sessions[2][1]));
    // The status comes from the end, the kind from the beginning.
    let mut expected = std::collections::BTreeMap::new();
    for n in (0..100).filter(|n| ![5, 7].contains(&(n % 10))) {
        *expected.entry((["read", "write", "sync"][n % 3], 200 + n as i64 % 2)).or_insert(0) += 4;
    }
    let found: std::collections::BTreeMap<(String, i64), u64> = keys(&sessions[2][0])
        .into_iter()
        .map(|(key, count)| match (&key[0], &key[1]) {
            ((status, LabelValue::Signed(code)), (kind, LabelValue::String(name, false))) => {
                assert_eq!((status.as_str(), kind.as_str()), ("status", "kind"));
                ((text(name), *code), count)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, expected.into_iter().map(|((k, s), n)| ((k.to_owned(), s), n)).collect());
}

#[test]
fn samples_and_rates() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("hits", &["-per", "50000", "-goroutines", "4", "-signal"]);
    let sessions = BACKENDS.map(|backend| {
        let options =
            || Options { mode: plan::Mode::Count { by: Vec::new() }, ..Options::default() };
        let sample = Options { sample: Some(100), ..options() };
        let rate = Options { rate: Some(50), ..options() };
        [sample, rate].map(|options| start(target.pid(), &["e2e:hit"], options, backend))
    });
    let begun = std::time::Instant::now();
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    let seconds = begun.elapsed().as_secs() + 2;
    for (backend, [sample, rate]) in BACKENDS.iter().zip(&sessions) {
        let [sample, rate] = [sample, rate].map(|s| s.summary().unwrap());
        for summary in [sample, rate] {
            assert_eq!((summary.hits, summary.delivered + summary.filtered), (200_000, 200_000));
        }
        // 2,000 are expected; ten standard deviations are 440.
        assert!((1500..2500).contains(&sample.delivered), "{sample:?} by {backend:?}");
        assert!(rate.delivered >= 50, "{rate:?}");
        // Without fetching atomics, hits on two CPUs may pass together.
        let slack = if *backend == BackendKind::Bcc { 2 } else { 1 };
        assert!(rate.delivered <= 50 * seconds * slack, "{rate:?} in {seconds} s by {backend:?}");
    }
}

#[test]
fn totals_at_intervals() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let run = |extra: &[&str]| {
        let mut args = vec!["count", "e2e:hit", "--interval", "50ms", "--by", "text"];
        args.extend(extra);
        args.extend(["--", app.as_str(), "-per", "1000", "-linger", "600ms"]);
        let out = attach(&args);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    let rows = lines(&run(&["--json", "--top", "3"]));
    let (summary, rows) = rows.split_last().unwrap();
    assert_eq!(summary["summary"]["delivered"], 1000);
    // The first tables may come while the program is at its first hits.
    let tables: Vec<&[Value]> = rows.chunk_by(|a, b| a["time_ns"] == b["time_ns"]).collect();
    assert!(tables.len() >= 3 && tables.iter().all(|table| table.len() <= 3), "{rows:?}");
    for pair in tables.windows(2) {
        assert!(pair[0][0]["time_ns"].as_u64().unwrap() < pair[1][0]["time_ns"].as_u64().unwrap());
    }
    let last = tables.last().unwrap();
    assert_eq!(last.len(), 3, "{rows:?}");
    assert!(last.iter().all(|row| row["count"] == 10 && row["by"].is_string()));
    let plain = run(&["--top", "2"]);
    assert!(plain.contains("       COUNT      PER SEC  PROBE\n          10"), "{plain}");
    assert!(plain.contains("... and 98 more"), "{plain}");
}

/// On a terminal the table stays in its place.
#[test]
fn totals_in_place() {
    if !have(&[Need::Bpf, Need::Program("script")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let line = format!(
        "stty cols 60 rows 10; {} hist e2e:hit n --by text --interval 50ms -- {} -per 1000 -linger 400ms",
        tools().join("usdt-attach").display(),
        app.as_str()
    );
    let out = command("script")
        .args(["-qec", &line, "/dev/null"])
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    let shown = text(&out.stdout);
    assert!(out.status.success(), "{shown}");
    let redrawn: Vec<&str> = shown.split("\x1b[9A\x1b[J").collect();
    assert!(redrawn.len() >= 3, "{shown:?}");
    for frame in &redrawn[1..redrawn.len() - 1] {
        assert_eq!(frame.lines().count(), 9, "as many as fit: {frame:?}");
        let plain = frame.replace("\x1b[1m", "").replace("\x1b[36m", "").replace("\x1b[0m", "");
        assert!(plain.lines().all(|l| l.trim_end().chars().count() <= 60), "{plain}");
    }
    assert!(redrawn.last().unwrap().lines().count() > 100, "at the end, everything");
}

#[test]
fn mistakes() {
    let app = Fixture::get("hits", Mode::Sealed);
    let app = app.to_str().unwrap();
    for (args, expected) in [
        (
            &["count", "e2e:hit", "--by", "method"][..],
            "error: e2e:hit: no argument `method`; the probe has self, n, text\n",
        ),
        (
            &["hist", "e2e:hit", "text"],
            "error: e2e:hit: `text` is a string; a histogram needs an integer\n",
        ),
        (
            &["hist", "e2e:hit", "n", "--linear", "9,1,1"],
            "error: a linear histogram LO,HI,STEP needs LO < HI and STEP > 0\n",
        ),
        (
            &["hist", "e2e:hit", "n", "--linear", "0,1000000,1"],
            "error: a linear histogram has 1000000 buckets (limit 1000); use a larger step\n",
        ),
        (
            &["trace", "e2e:hit", "--filter", "n == 'x'"],
            "error: e2e:hit: `n` is not a string; for a C string, write `str(n)`\n",
        ),
        (
            &["trace", "e2e:hit", "--filter", "text == 5"],
            "error: e2e:hit: `text` is a string, so it cannot be compared with a number\n",
        ),
        (
            &["latency", "e2e:hit", "e2e:hit"],
            "error: e2e:hit is both the start and the end; name two different probes\n",
        ),
        (
            &["latency", "e2e:hit", "e2e:nothing", "--key", "n"],
            "error: e2e:nothing: no argument `n`; the probe has no arguments\n",
        ),
    ] {
        let mut args = args.to_vec();
        args.extend(["--dry-run", "--exe", app]);
        let out = attach(&args);
        assert_eq!(
            (out.status.code(), text(&out.stderr).as_str()),
            (Some(2), expected),
            "{args:?}"
        );
    }
    let out = attach(&["trace", "--filter", "n = 5", "--exe", app]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("filter `n = 5`, column 3: expected `==`"),
        "{}",
        text(&out.stderr)
    );
}
