//! Both backends and every attach mechanism record the same events, in order and without loss.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::ScannedObject;
use usdt_attach::discover::{self, select};
use usdt_attach::event::Value;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::{Mechanism, Session, SharedBuffer, Summary};
use usdt_e2e::{
    Fixture, Mode, Need, Process, command, copy, events_and_summary, have, semaphore, semaphore_of,
    tools, wait_for,
};

#[test]
fn backends_record_identical_events() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target =
        Process::start(command(&app.path).args(["-types", "-linger", "1s"]).env("GOMAXPROCS", "1"));
    let pid = target.pid().to_string();
    let tracer = |backend: &str, globs: &[&str]| {
        let args = ["trace", "--json", "--backend", backend, "-p", &pid];
        Process::start(command(tools().join("usdt-attach")).args(args).args(globs))
    };
    // The kernel increments a semaphore once per site, even if several tracers attach there. To see
    // that the second tracer is attached, it has a probe of its own. The program fires when
    // `more__types` is enabled, which happens last.
    let attached = |probe: &str| semaphore(target.pid(), semaphore_of(&app.path, probe)) == 1;
    let bcc = tracer("bcc", &["e2e:t*", "other*:*"]);
    wait_for("the bcc backend", || attached("e2e:types"));
    let embedded = tracer("embedded", &["e2e:t*", "other*:*", "e2e:hit"]);
    wait_for("the embedded backend", || attached("e2e:hit"));
    let trigger = tracer("embedded", &["e2e:more-types"]);
    let (_, _, errors) = target.finish();
    assert_eq!(errors, "done\n");
    let events: Vec<Vec<Json>> = [bcc, embedded]
        .into_iter()
        .map(|t| {
            let (status, out, errors) = t.finish();
            assert!(status.success(), "{errors}");
            let (mut events, summary) = events_and_summary(&out);
            assert_eq!(summary["hits"], 4, "{summary}");
            for event in &mut events {
                event["time_ns"] = Json::Null;
            }
            events
        })
        .collect();
    assert_eq!(events[0].len(), 4);
    assert_eq!(events[0], events[1]);
    drop(trigger);
}

/// Scans a process that was just started. Its file may be mapped only a moment after the process
/// exists.
fn scan_until_mapped(target: &Process) -> Vec<ScannedObject> {
    let mut found = Vec::new();
    wait_for("the target's probes", || {
        found = discover::scan_process(target.pid()).unwrap().objects;
        found.iter().any(|file| !file.probes.is_empty())
    });
    found
}

/// Traces every argument type through the library with one backend and mechanism, and returns each
/// event as text.
fn record(backend: BackendKind, mechanism: Mechanism) -> Vec<String> {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    // Perf events are attached one at a time, and each enables its probe before its program is
    // attached.
    let settle = if mechanism == Mechanism::Auto { "0s" } else { "200ms" };
    let mut program = command(&app.path);
    if std::env::var_os("USDT_E2E_SETTLE").is_none_or(|current| current == "0s") {
        program.env("USDT_E2E_SETTLE", settle);
    }
    let target = Process::start(program.args(["-types", "-all"]));
    let chosen = select::select(&scan_until_mapped(&target), &["*:*".to_owned()]).unwrap();
    let options = Options { pids: Some(vec![target.pid()]), ..Options::default() };
    let (plan, warnings) = Plan::new(&chosen, &options).unwrap();
    assert_eq!(warnings, []);
    let mut session = Session::start(plan, &*backend.backend(mechanism).unwrap()).unwrap();
    if mechanism != Mechanism::Auto {
        assert_eq!(session.mechanism(), mechanism);
    }
    let events = Arc::new(Mutex::new(Vec::new()));
    wait_for("all events", || {
        while session
            .drain(|event| {
                // Pointers differ between runs.
                let args: Vec<String> = event
                    .args()
                    .filter(|(name, _)| *name != "p")
                    .map(|(n, v)| format!("{n}={v:?}"))
                    .collect();
                events.lock().unwrap().push(format!("{}{args:?}", event.probe.name));
            })
            .unwrap()
        {}
        events.lock().unwrap().len() >= 8
    });
    session.detach();
    let summary = session.summary().unwrap();
    assert_eq!((summary.hits, summary.delivered, summary.dropped), (8, 8, 0));
    Arc::try_unwrap(events).unwrap().into_inner().unwrap()
}

#[test]
fn perf_events_record_what_multi_uprobe_links_record() {
    if have(&[Need::Bpf]) {
        assert_eq!(
            record(BackendKind::Embedded, Mechanism::PerfEvents),
            record(BackendKind::Embedded, Mechanism::Auto)
        );
    }
}

#[test]
fn program_per_site_records_what_cookies_record() {
    if have(&[Need::Bpf, Need::Bcc]) {
        let usual = record(BackendKind::Embedded, Mechanism::Auto);
        assert_eq!(record(BackendKind::Embedded, Mechanism::ProgramPerSite), usual);
        assert_eq!(record(BackendKind::Bcc, Mechanism::ProgramPerSite), usual);
    }
}

#[test]
fn bcc_programs_record_what_embedded_programs_record() {
    if have(&[Need::Bpf, Need::Bcc]) {
        assert_eq!(
            record(BackendKind::Bcc, Mechanism::Auto),
            record(BackendKind::Embedded, Mechanism::Auto)
        );
    }
}

/// Fires from eight goroutines at full speed while reading events.
///
/// Checks that the events of each goroutine are in order, and returns the number of events and the
/// summary.
fn fire_at_full_speed(
    (backend, mechanism): (BackendKind, Mechanism),
    hits_per_goroutine: u64,
    options: &Options,
) -> (u64, Summary) {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let hits_per_goroutine = hits_per_goroutine.to_string();
    // Perf events increment a semaphore before they run its program, so the target waits for the
    // semaphore of the next probe.
    let args = ["-next", "-linger", "1s", "-goroutines", "8", "-per", &hits_per_goroutine];
    let target = Process::start(command(&app.path).args(args));
    let globs = ["e2e:hit".to_owned(), "e2e:more__types".to_owned()];
    let chosen = select::select(&scan_until_mapped(&target), &globs).unwrap();
    let options = Options { pids: Some(vec![target.pid()]), ..options.clone() };
    let (plan, _) = Plan::new(&chosen, &options).unwrap();
    let mut session = Session::start(plan, &*backend.backend(mechanism).unwrap()).unwrap();
    let (mut next, mut events) = (HashMap::new(), 0u64);
    let mut read = |session: &mut Session| {
        session
            .drain(|event| {
                let values: Vec<Value<'_>> = event.args().map(|(_, value)| value).collect();
                let [
                    Value::Unsigned(goroutine),
                    Value::Unsigned(n),
                    Value::String { bytes, truncated: 0 },
                ] = values[..]
                else {
                    panic!("{values:?}")
                };
                assert_eq!(event.goid, Some(goroutine));
                let text = format!("{}{}", "x".repeat((n % 100 % 40) as usize), n % 100);
                assert_eq!(bytes, text.as_bytes());
                let expected = next.entry(goroutine).or_insert(0);
                assert!(n >= *expected, "goroutine {goroutine}: {n}, expected at least {expected}");
                *expected = n + 1;
                events += 1;
            })
            .unwrap()
    };
    let (status, ..) = target.finish_while(|_| {
        read(&mut session);
    });
    assert!(status.success());
    session.detach();
    while read(&mut session) {}
    let summary = session.summary().unwrap();
    assert_eq!(summary.hits, summary.delivered + summary.dropped + summary.filtered, "{summary:?}");
    (events, summary)
}

/// Records too large for the BPF stack, and a buffer of two pages.
fn large_records_in_a_small_buffer() -> Options {
    Options { max_string: 1000, buffer: 8192, ..Options::default() }
}

#[test]
fn ring_keeps_order_and_accounts_for_every_hit() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for mechanism in [Mechanism::Auto, Mechanism::ProgramPerSite] {
        let backend = (BackendKind::Embedded, mechanism);
        // Short records are covered, too; they end after their string.
        for options in
            [large_records_in_a_small_buffer(), Options { buffer: 4096, ..Options::default() }]
        {
            let (events, summary) = fire_at_full_speed(backend, 20_000, &options);
            assert_eq!((events, summary.hits), (summary.delivered, 160_000));
            assert!(summary.dropped > 0 && events > 0, "{summary:?}");
        }
        // All of these events fit into the buffer, even those of one CPU into its share.
        let (events, summary) = fire_at_full_speed(backend, 6_000, &with_buffer_per_cpu(8 << 20));
        assert_eq!((events, summary.hits, summary.dropped), (48_000, 48_000, 0));
        let limited = Options { limit: Some(100), ..Options::default() };
        let (events, summary) = fire_at_full_speed(backend, 1000, &limited);
        assert_eq!((events, summary.delivered), (100, 100));
        let rate_limited = Options { rate: Some(50), ..Options::default() };
        let (events, summary) = fire_at_full_speed(backend, 1000, &rate_limited);
        assert!((50..200).contains(&events) && summary.hits == 8000, "{summary:?}");
    }
}

#[test]
fn bcc_programs_keep_order_and_account_for_every_hit() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let backend = (BackendKind::Bcc, Mechanism::Auto);
    let (events, summary) = fire_at_full_speed(backend, 20_000, &large_records_in_a_small_buffer());
    assert_eq!((events, summary.hits), (summary.delivered, 160_000));
    assert!(summary.dropped > 0 && events > 0, "{summary:?}");
    // Without atomic fetch operations, a few more hits than the limit may be recorded, but they are
    // not delivered.
    let limited = Options { limit: Some(100), ..Options::default() };
    let (events, summary) = fire_at_full_speed(backend, 1000, &limited);
    assert_eq!((events, summary.delivered), (100, 100));
}

/// Three sessions with different records share a small buffer.
#[test]
fn shared_buffer_keeps_order_and_accounts_for_every_hit() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let Some(mut buffer) = SharedBuffer::new(SharedBuffer::min_size()).unwrap() else {
        assert!(!usdt_attach::kernel::detect::detect_features().preemption, "the kernel allows it");
        return;
    };
    let backend = BackendKind::Embedded.backend(Mechanism::Auto).unwrap();
    let (mut targets, mut sessions) = (Vec::new(), Vec::new());
    // The last session has no long strings, and ends before the others.
    for (max_string, per, linger) in [(128, "30000", "1s"), (1000, "30000", "1s"), (8, "500", "0s")]
    {
        let app = copy(&Fixture::get("hits", Mode::Sealed));
        let args = ["-goroutines", "4", "-per", per, "-linger", linger, "-next"];
        let target = Process::start(command(&app.path).args(args));
        let globs = ["e2e:hit".to_owned(), "e2e:more__types".to_owned()];
        let chosen = select::select(&scan_until_mapped(&target), &globs).unwrap();
        let pids = Some(vec![target.pid()]);
        let options = Options { pids, max_string, ..Options::default() };
        let session = buffer.start(Plan::new(&chosen, &options).unwrap().0, &*backend).unwrap();
        assert!(session.fd().is_none(), "it shares the buffer");
        sessions.push(session);
        targets.push((app, target));
    }
    let (mut last_time, mut late, mut next, mut events) = (0, 0, HashMap::new(), HashMap::new());
    let mut read = |buffer: &mut SharedBuffer, sessions: &mut Vec<Session>| {
        let more = buffer.drain(sessions.iter_mut(), |event| {
            late += u64::from(event.time_ns < last_time);
            last_time = last_time.max(event.time_ns);
            let Some(Value::Unsigned(n)) = event.arg("n") else { panic!("{event:?}") };
            let expected = next.entry((event.pid, event.goid)).or_insert(0);
            assert!(n >= *expected, "{n}, expected at least {expected}");
            *expected = n + 1;
            *events.entry(event.pid).or_insert(0u64) += 1;
        });
        more.unwrap()
    };
    let pids: Vec<u32> = targets.iter().map(|(_, target)| target.pid()).collect();
    let (_app, short) = targets.pop().unwrap();
    let (status, ..) = short.finish_while(|_| {
        read(&mut buffer, &mut sessions);
    });
    assert!(status.success());
    Session::start_detaching(sessions.last_mut());
    wait_for("the last events of the session that ends", || {
        read(&mut buffer, &mut sessions);
        buffer.is_read(&sessions[2])
    });
    let mut summaries = vec![sessions.pop().unwrap().summary().unwrap()];
    for (_app, target) in targets {
        let (status, ..) = target.finish_while(|_| {
            read(&mut buffer, &mut sessions);
        });
        assert!(status.success());
    }
    Session::detach_all(&mut sessions);
    while read(&mut buffer, &mut sessions) {}
    summaries.extend(sessions.iter().rev().map(|session| session.summary().unwrap()));
    assert_eq!(late, buffer.out_of_order(), "only records of a writer that was held back are late");
    for ((summary, pid), hits) in
        summaries.iter().zip(pids.iter().rev()).zip([2_000, 120_000, 120_000])
    {
        assert_eq!(summary.hits, hits, "{summary:?}");
        assert_eq!(summary.delivered + summary.dropped, hits, "{summary:?}");
        assert_eq!(events.get(pid).copied().unwrap_or(0), summary.delivered);
    }
}

/// Options with a buffer that has at least `bytes` for each CPU.
fn with_buffer_per_cpu(bytes: usize) -> Options {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let buffer = u32::try_from((bytes * cpus).next_power_of_two()).unwrap();
    Options { buffer, ..Options::default() }
}

#[test]
fn a_ring_wakes_its_reader_when_half_full() {
    if !have(&[Need::Bpf]) {
        return;
    }
    // A record has about 100 bytes, so the hits fill the buffer three times. All CPUs share the
    // first one.
    wakes_the_reader(&Options { buffer: 1 << 14, ..Options::default() }, 600, 60);
    wakes_the_reader(&with_buffer_per_cpu(1 << 18), 20_000, 1000);
}

fn wakes_the_reader(options: &Options, hits: u32, min_events: u32) {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let hits = hits.to_string();
    let args = ["-linger", "1s", "-goroutines", "1", "-per", &hits];
    let target = Process::start(command(&app.path).args(args));
    let chosen = select::select(&scan_until_mapped(&target), &["e2e:hit".to_owned()]).unwrap();
    let options = Options { pids: Some(vec![target.pid()]), ..options.clone() };
    let (plan, _) = Plan::new(&chosen, &options).unwrap();
    let mut session =
        Session::start(plan, &*BackendKind::Embedded.backend(Mechanism::Auto).unwrap()).unwrap();
    let is_readable = || {
        let fd = session.fd().unwrap();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    };
    wait_for("the wakeup", is_readable);
    let mut events = 0;
    while session.drain(|_| events += 1).unwrap() {}
    assert!(events > min_events, "half of the buffer holds more than {events} events");
    drop(target);
}
