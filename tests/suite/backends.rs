//! Two back ends, and two ways to attach: the same events.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use usdt_attach::backend::BackendKind;
use usdt_attach::discover::ScannedObject;
use usdt_attach::discover::{self, select};
use usdt_attach::event::Value;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::{Mechanism, Session, Summary};
use usdt_e2e::{
    Fixture, Mode, Need, Process, command, copy, have, semaphore, semaphore_of, stream, tools,
    wait_for,
};

#[test]
fn both_record_the_same_of_the_same_hits() {
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
    // The kernel counts a semaphore once for a site, however many tracers it has there: that the second one is
    // attached shows in a probe of its own. The program fires when `more__types` is enabled, which comes last.
    let attached = |probe: &str| semaphore(target.pid(), semaphore_of(&app.path, probe)) == 1;
    let bcc = tracer("bcc", &["e2e:t*", "other*:*"]);
    wait_for("bcc", || attached("e2e:types"));
    let embedded = tracer("embedded", &["e2e:t*", "other*:*", "e2e:hit"]);
    wait_for("the embedded back end", || attached("e2e:hit"));
    let trigger = tracer("embedded", &["e2e:more-types"]);
    let (_, _, errors) = target.finish();
    assert_eq!(errors, "done\n");
    let events: Vec<Vec<Json>> = [bcc, embedded]
        .into_iter()
        .map(|t| {
            let (status, out, errors) = t.finish();
            assert!(status.success(), "{errors}");
            let (mut events, summary) = stream(&out);
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

/// What a process has that was started just now: its file is mapped after the one who starts it goes on.
fn probes_of(target: &Process) -> Vec<ScannedObject> {
    let mut found = Vec::new();
    wait_for("its probes", || {
        found = discover::scan_process(target.pid()).unwrap();
        found.iter().any(|file| !file.probes.is_empty())
    });
    found
}

/// Traces all types with one back end and mechanism through the library; the raw arguments of every event.
fn record(choice: BackendKind, mechanism: Mechanism) -> Vec<String> {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    // Perf events are attached one after the other, and enable probes before they do.
    let settle = if mechanism == Mechanism::Auto { "0s" } else { "200ms" };
    let mut program = command(&app.path);
    if std::env::var_os("USDT_E2E_SETTLE").is_none_or(|own| own == "0s") {
        program.env("USDT_E2E_SETTLE", settle);
    }
    let target = Process::start(program.args(["-types", "-all"]));
    let chosen = select::select(&probes_of(&target), &["*:*".to_owned()]).unwrap();
    let options = Options { pids: Some(vec![target.pid()]), ..Options::default() };
    let (plan, warnings) = Plan::new(&chosen, &options).unwrap();
    assert_eq!(warnings, []);
    let mut session = Session::start(plan, &*choice.backend(mechanism).unwrap()).unwrap();
    if mechanism != Mechanism::Auto {
        assert_eq!(session.mechanism(), mechanism);
    }
    let events = Arc::new(Mutex::new(Vec::new()));
    wait_for("all events", || {
        while session
            .drain(|event| {
                // Addresses differ from run to run.
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
fn perf_events_serve_kernels_without_multi_links() {
    if have(&[Need::Bpf]) {
        assert_eq!(
            record(BackendKind::Embedded, Mechanism::PerfEvents),
            record(BackendKind::Embedded, Mechanism::Auto)
        );
    }
}

#[test]
fn programs_that_know_their_site_serve_kernels_without_cookies() {
    if have(&[Need::Bpf, Need::Bcc]) {
        let usual = record(BackendKind::Embedded, Mechanism::Auto);
        assert_eq!(record(BackendKind::Embedded, Mechanism::ProgramPerSite), usual);
        assert_eq!(record(BackendKind::Bcc, Mechanism::ProgramPerSite), usual);
    }
}

#[test]
fn bcc_programs_load_and_attach_by_our_own_means() {
    if have(&[Need::Bpf, Need::Bcc]) {
        assert_eq!(
            record(BackendKind::Bcc, Mechanism::Auto),
            record(BackendKind::Embedded, Mechanism::Auto)
        );
    }
}

/// Eight goroutines fire as fast as they can while this reads. Returns the number of events, once each goroutine's have been in order, and the account.
fn fast_as_they_can(
    (choice, mechanism): (BackendKind, Mechanism),
    per: u64,
    options: &Options,
) -> (u64, Summary) {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let per = per.to_string();
    // Perf events count a semaphore before they run its program: it waits for that of the next probe.
    let args = ["-next", "-linger", "1s", "-goroutines", "8", "-per", &per];
    let target = Process::start(command(&app.path).args(args));
    let globs = ["e2e:hit".to_owned(), "e2e:more__types".to_owned()];
    let chosen = select::select(&probes_of(&target), &globs).unwrap();
    let options = Options { pids: Some(vec![target.pid()]), ..options.clone() };
    let (plan, _) = Plan::new(&chosen, &options).unwrap();
    let mut session = Session::start(plan, &*choice.backend(mechanism).unwrap()).unwrap();
    let (mut next, mut events) = (HashMap::new(), 0u64);
    let mut read = |session: &mut Session| {
        session
            .drain(|event| {
                let values: Vec<Value<'_>> = event.args().map(|(_, value)| value).collect();
                let [
                    Value::Unsigned(own),
                    Value::Unsigned(n),
                    Value::String { bytes, truncated: 0 },
                ] = values[..]
                else {
                    panic!("{values:?}")
                };
                assert_eq!(event.goid, Some(own));
                let text = format!("{}{}", "x".repeat((n % 100 % 40) as usize), n % 100);
                assert_eq!(bytes, text.as_bytes());
                let least = next.entry(own).or_insert(0);
                assert!(n >= *least, "goroutine {own}: {n} after {least}");
                *least = n + 1;
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

/// Records that the stack has no room for, and a buffer of two pages.
fn tight() -> Options {
    Options { max_string: 1000, buffer: 8192, ..Options::default() }
}

#[test]
fn rings_keep_the_order_and_account_for_every_hit() {
    if !have(&[Need::Bpf]) {
        return;
    }
    for mechanism in [Mechanism::Auto, Mechanism::ProgramPerSite] {
        let by = (BackendKind::Embedded, mechanism);
        // Short ones, too: they end with their text.
        for options in [tight(), Options { buffer: 4096, ..Options::default() }] {
            let (events, summary) = fast_as_they_can(by, 20_000, &options);
            assert_eq!((events, summary.hits), (summary.delivered, 160_000));
            assert!(summary.dropped > 0 && events > 0, "{summary:?}");
        }
        // As many as there is room for.
        let (events, summary) = fast_as_they_can(by, 6_000, &Options::default());
        assert_eq!((events, summary.hits, summary.dropped), (48_000, 48_000, 0));
        let limited = Options { limit: Some(100), ..Options::default() };
        let (events, summary) = fast_as_they_can(by, 1000, &limited);
        assert_eq!((events, summary.delivered), (100, 100));
        let seldom = Options { rate: Some(50), ..Options::default() };
        let (events, summary) = fast_as_they_can(by, 1000, &seldom);
        assert!((50..200).contains(&events) && summary.hits == 8000, "{summary:?}");
    }
}

#[test]
fn bcc_programs_keep_the_order_and_account_for_every_hit() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let by = (BackendKind::Bcc, Mechanism::Auto);
    let (events, summary) = fast_as_they_can(by, 20_000, &tight());
    assert_eq!((events, summary.hits), (summary.delivered, 160_000));
    assert!(summary.dropped > 0 && events > 0, "{summary:?}");
    // Without atomic operations that return the old value a few more may be taken, but none is delivered.
    let limited = Options { limit: Some(100), ..Options::default() };
    let (events, summary) = fast_as_they_can(by, 1000, &limited);
    assert_eq!((events, summary.delivered), (100, 100));
}

#[test]
fn a_mapped_ring_wakes_its_reader_when_it_is_half_full() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let args = ["-linger", "1s", "-goroutines", "1", "-per", "600"];
    let target = Process::start(command(&app.path).args(args));
    let chosen = select::select(&probes_of(&target), &["e2e:hit".to_owned()]).unwrap();
    // A record has some 100 bytes: so many fill the buffer three times.
    let options = Options { pids: Some(vec![target.pid()]), buffer: 1 << 14, ..Options::default() };
    let (plan, _) = Plan::new(&chosen, &options).unwrap();
    let mut session =
        Session::start(plan, &*BackendKind::Embedded.backend(Mechanism::Auto).unwrap()).unwrap();
    let called = || {
        let fd = session.fd().unwrap();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    };
    wait_for("the call", called);
    let mut events = 0;
    while session.drain(|_| events += 1).unwrap() {}
    assert!(events > 60, "half of the buffer are more than {events}");
    drop(target);
}
