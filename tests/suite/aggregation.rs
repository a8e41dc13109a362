//! Counts, histograms and latencies that the kernel aggregates: filters, keys, sampling, and
//! agreement between both backends.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead;
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::select::Glob;
use usdt_attach::discover::{self, select};
use usdt_attach::event::counts::{Histogram, LabelValue, Row, Total};
use usdt_attach::filter::{Filter, Subject};
use usdt_attach::plan::{self, Options, Plan, Scale, TimeUnit};
use usdt_attach::session::{Mechanism, Session, Summary, Unpaired};
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, json_lines, text, tools,
};

const BACKENDS: [BackendKind; 2] = [BackendKind::Embedded, BackendKind::Bcc];

/// Starts a session on the probes of a process.
fn start(pid: u32, globs: &[&str], options: Options, backend: BackendKind) -> Session {
    let found = discover::scan_process(pid).unwrap().objects;
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

/// Starts a fixture. With `-signal` it fires when it receives SIGINT.
fn target(package: &'static str, args: &[&str]) -> (usdt_e2e::Copy, Process) {
    let app = copy(&Fixture::get(package, Mode::Sealed));
    let target = Process::start(command(&app.path).args(args));
    target.wait_for_exec(&app.path);
    (app, target)
}

#[test]
fn counts_only_hits_that_pass_the_filter() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("hits", &["-types", "-signal"]);
    let own_pid = format!("pid == {}", target.pid());
    let other_pid = format!("pid != {}", target.pid());
    // `fireAllTypes` of the program fires three times: with all values set, with zero values, and with
    // long strings.
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
                // libbcc takes almost a second per program, so it runs every fifth case only.
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
        let wanted =
            Summary { hits, delivered: expected, filtered: hits - expected, ..Summary::default() };
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

/// Returns the number of zeros, and the counts by the exponent of each bucket's upper bound in
/// powers of two of the unit.
fn counts_by_exponent(row: &Row) -> (u64, BTreeMap<i32, u64>) {
    let histogram = histogram(row);
    let zero = histogram.buckets.index(0);
    let used = histogram.counts.iter().enumerate().filter(|(index, n)| *index != zero && **n > 0);
    let counts =
        used.map(|(index, n)| (histogram.buckets.exponent(index).unwrap().1, *n)).collect();
    (histogram.counts[zero], counts)
}

#[test]
fn counts_and_histograms_agree_between_backends() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("hits", &["-per", "1000", "-goroutines", "3", "-signal"]);
    let count_by = |names: &[&str]| plan::Mode::Count { by: subjects(names) };
    let histogram_of = |value: &str, scale, by: &[&str]| plan::Mode::Histogram {
        value: subject(value),
        scale,
        by: subjects(by),
    };
    let modes = [
        count_by(&[]),
        count_by(&["text"]),
        count_by(&["self", "text"]),
        count_by(&["comm", "pid"]),
        histogram_of("n", Scale::Log2, &[]),
        histogram_of("n", Scale::Log2, &["self"]),
        histogram_of("n", Scale::Linear { low: 100, high: 450, step: 100 }, &[]),
        histogram_of("n", Scale::Linear { low: -10, high: 10, step: 5 }, &["comm"]),
        histogram_of("n", Scale::Exponential { unit: 1 }, &[]),
        histogram_of("n", Scale::Exponential { unit: 1000 }, &["comm"]),
        histogram_of("n", Scale::Time { unit: TimeUnit::Ms }, &["comm"]),
    ];
    let by_process = [count_by(&[]), count_by(&["text"]), histogram_of("n", Scale::Log2, &[])];
    let modes = modes.map(|mode| (mode, false)).into_iter();
    let sessions: Vec<(Session, Session)> = modes
        .chain(by_process.map(|mode| (mode, true)))
        .map(|(mode, by_process)| {
            let [embedded, bcc] = BACKENDS.map(|backend| {
                let options = Options { mode: mode.clone(), by_process, ..Options::default() };
                start(target.pid(), &["e2e:hit"], options, backend)
            });
            (embedded, bcc)
        })
        .collect();
    let limited = Options { mode: count_by(&["text"]), entries: 7, ..Options::default() };
    let limited = start(target.pid(), &["e2e:hit"], limited, BackendKind::Embedded);
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
        counts_by_exponent(&all[8][0]),
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
    // 1, 2 and 3 thousandths have buckets of their own; 500 is half of the unit, and 501 is in the
    // next bucket.
    assert_eq!(
        counts_by_exponent(&all[9][0]),
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
    let summary = limited.summary().unwrap();
    assert_eq!((summary.hits, summary.delivered + summary.dropped), (3000, 3000));
    assert_eq!(limited.rows().unwrap().len(), 7);
    assert_eq!(limited.rows().unwrap().iter().map(count).sum::<u64>(), summary.delivered);
}

/// Covers every type that can be a key or a value, with its lowest and highest numbers.
#[test]
fn reports_keys_of_every_argument_type() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("hits", &["-types", "-signal"]);
    let by = ["u64", "f", "d", "ok"];
    let strings = ["cstring", "data", "err"];
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
                start(target.pid(), &["e2e:more-types"], count(&strings), backend),
                start(target.pid(), &["e2e:types"], signed, backend),
            ]
        })
        .into();
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    for [numbers, strings, signed] in &sessions {
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
        let string = |content: &str, truncated| LabelValue::String(content.into(), truncated);
        assert_eq!(
            keys(strings),
            [
                vec![
                    string("C \"text\"", false),
                    LabelValue::Bytes(vec![0, 1, 255], false),
                    string("it broke\n", false)
                ],
                vec![
                    string(&"c".repeat(63), true),
                    LabelValue::Bytes(vec![7; 63], true),
                    string(&"e".repeat(63), true)
                ],
                vec![string("", false), LabelValue::Bytes(vec![], false), string("", false)],
            ]
        );
        let rows = signed.rows().unwrap();
        let values = histogram(&rows[0]);
        assert_eq!((values.min, values.max, values.count()), (i64::MIN.into(), i64::MIN.into(), 1));
        assert_eq!(values.counts[0], 1, "-2^63 has a bucket of its own");
        assert_eq!(rows[0].labels[1].1, LabelValue::Unsigned(u32::MAX.into()));
    }
}

#[test]
fn measures_latency_between_two_probes() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let (_app, mut target) = target("pairs", &[]);
    let mut ready = String::new();
    std::io::BufReader::new(target.0.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let latency = |key: Option<&str>, by: &[&str]| plan::Mode::Latency {
        start: Glob::new("ops:begin"),
        end: Glob::new("ops:end"),
        key: key.map(subject),
        by: subjects(by),
        scale: Scale::Log2,
    };
    let modes = [
        latency(None, &[]),
        latency(Some("id"), &[]),
        latency(Some("id"), &["kind", "status"]),
        latency(Some("tid"), &["pid"]),
    ];
    let sessions: Vec<[Session; 2]> = modes
        .iter()
        .map(|mode| {
            BACKENDS.map(|backend| {
                let options = Options { mode: mode.clone(), ..Options::default() };
                start(target.pid(), &["ops:*"], options, backend)
            })
        })
        .collect();
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    // 4 goroutines fire 100 operations each, 10 of them without an end and 10 without a start.
    for [embedded, bcc] in &sessions[..3] {
        assert_eq!(embedded.summary().unwrap(), bcc.summary().unwrap());
    }
    let summary = |i: usize| sessions[i][0].summary().unwrap();
    // With the goroutine as key, starts are nested: an end whose start is missing takes the start
    // whose end is missing.
    let unpaired = |unmatched_starts, unmatched_ends| {
        Some(Unpaired { unmatched_starts, unmatched_ends, ..Unpaired::default() })
    };
    assert_eq!(
        (summary(0).hits, summary(0).dropped, summary(0).unpaired),
        (720, 0, unpaired(0, 0))
    );
    assert_eq!((summary(1).hits, summary(1).unpaired), (720, unpaired(40, 40)));
    assert_eq!(summary(2).unpaired, unpaired(40, 40));
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
    // The status is an argument of the end probe, the kind one of the start probe.
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
fn samples_and_limits_the_rate_of_hits() {
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
    let start_time = std::time::Instant::now();
    target.signal(2);
    assert!(target.0.wait().unwrap().success());
    let seconds = start_time.elapsed().as_secs() + 2;
    for (backend, [sample, rate]) in BACKENDS.iter().zip(&sessions) {
        let [sample, rate] = [sample, rate].map(|s| s.summary().unwrap());
        for summary in [sample, rate] {
            assert_eq!((summary.hits, summary.delivered + summary.filtered), (200_000, 200_000));
        }
        // The expected value is 2,000, and ten standard deviations are 440.
        assert!((1500..2500).contains(&sample.delivered), "{sample:?} by {backend:?}");
        assert!(rate.delivered >= 50, "{rate:?}");
        // Without atomic fetch operations, hits on two CPUs may pass at the same time.
        let slack = if *backend == BackendKind::Bcc { 2 } else { 1 };
        assert!(rate.delivered <= 50 * seconds * slack, "{rate:?} in {seconds} s by {backend:?}");
    }
}

#[test]
fn prints_totals_at_each_interval() {
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
    let rows = json_lines(&run(&["--json", "--top", "3"]));
    let (summary, rows) = rows.split_last().unwrap();
    assert_eq!(summary["summary"]["delivered"], 1000);
    // The first tables may be printed while the program is still firing.
    let tables: Vec<&[Value]> = rows.chunk_by(|a, b| a["time_ns"] == b["time_ns"]).collect();
    assert!(tables.len() >= 3 && tables.iter().all(|table| table.len() <= 3), "{rows:?}");
    for pair in tables.windows(2) {
        assert!(pair[0][0]["time_ns"].as_u64().unwrap() < pair[1][0]["time_ns"].as_u64().unwrap());
    }
    let last = tables.last().unwrap();
    assert_eq!(last.len(), 3, "{rows:?}");
    assert!(last.iter().all(|row| row["count"] == 10 && row["labels"]["text"].is_string()));
    let plain = run(&["--top", "2"]);
    assert!(plain.contains("       COUNT      PER SEC  PROBE\n          10"), "{plain}");
    assert!(plain.contains("... and 98 more"), "{plain}");
}

/// On a terminal, each table overwrites the one before.
#[test]
fn redraws_totals_in_place_on_a_terminal() {
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
    assert!(redrawn[0].contains("attached to 1 probe of 1 file; Ctrl-C ends\r\n"), "{shown:?}");
    for frame in &redrawn[1..redrawn.len() - 1] {
        assert_eq!(frame.lines().count(), 9, "a frame fills the terminal: {frame:?}");
        let plain = frame.replace("\x1b[1m", "").replace("\x1b[36m", "").replace("\x1b[0m", "");
        assert!(plain.lines().all(|l| l.trim_end().chars().count() <= 60), "{plain}");
    }
    assert!(redrawn.last().unwrap().lines().count() > 100, "the last table is complete");
}

#[test]
fn rejects_invalid_aggregation_arguments() {
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
            &["latency", "e2e:hit", "e2e:nothing", "--pair-by", "n"],
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
