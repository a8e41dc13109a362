//! Two back ends, and two ways to attach: the same events.

use serde_json::Value;
use std::sync::{Arc, Mutex};
use usdt_attach::backend::Choice;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::{Mechanism, Session};
use usdt_attach::{discover, select};
use usdt_e2e::{
    Fixture, Mode, Need, Process, command, copy, have, listed, semaphore, stream, tools, wait_for,
};

#[test]
fn both_record_the_same_of_the_same_hits() {
    if !have(&[Need::Bpf, Need::Bcc]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(command(&app.path).args(["-types", "-linger", "1s"]).env("GOMAXPROCS", "1"));
    let pid = target.pid().to_string();
    let tracer = |backend: &str, globs: &[&str]| {
        let args = ["trace", "--json", "--backend", backend, "-p", &pid];
        Process::start(command(tools().join("usdt-attach")).args(args).args(globs))
    };
    // The kernel counts a semaphore once for a site, however many tracers it has there: that the second one is
    // attached shows in a probe of its own. The program fires when `more__types` is enabled, which comes last.
    let attached = |probe: &str| semaphore(target.pid(), semaphore_of(&app.path, probe)) == 1;
    let bcc = tracer("bcc", &["e2e:t*", "other*:*"]);
    wait_for("bcc", || attached("types"));
    let embedded = tracer("embedded", &["e2e:t*", "other*:*", "e2e:hit"]);
    wait_for("the embedded back end", || attached("hit"));
    let trigger = tracer("embedded", &["e2e:more-types"]);
    let (_, _, errors) = target.finish();
    assert_eq!(errors, "done\n");
    let events: Vec<Vec<Value>> = [bcc, embedded]
        .into_iter()
        .map(|t| {
            let (status, out, errors) = t.finish();
            assert!(status.success(), "{errors}");
            let (mut events, summary) = stream(&out);
            assert_eq!(summary["hits"], 4, "{summary}");
            for event in &mut events {
                event["time_ns"] = Value::Null;
            }
            events
        })
        .collect();
    assert_eq!(events[0].len(), 4);
    assert_eq!(events[0], events[1]);
    drop(trigger);
}

fn semaphore_of(path: &std::path::Path, probe: &str) -> u64 {
    listed(path).iter().find(|p| p["probe"] == probe && p["provider"] == "e2e").unwrap()["semaphore"]
        .as_u64()
        .unwrap()
}

/// Traces all types with one back end and mechanism through the library; the raw arguments of every event.
fn record(choice: Choice, mechanism: Mechanism) -> Vec<String> {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    // Perf events are attached one after the other.
    let target = Process::start(command(&app.path).args(["-types", "-all"]));
    let found = discover::process(target.pid()).unwrap();
    let chosen = select::select(&found, &["*:*".to_owned()]).unwrap();
    let options = Options {
        pids: Some(vec![target.pid()]),
        optimisation: usdt_attach::optimisation(),
        ..Options::default()
    };
    let (plan, warnings) = Plan::new(&chosen, &options).unwrap();
    assert_eq!(warnings, [""; 0]);
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
    session.stop();
    let summary = session.summary().unwrap();
    assert_eq!((summary.hits, summary.delivered, summary.dropped), (8, 8, 0));
    Arc::try_unwrap(events).unwrap().into_inner().unwrap()
}

#[test]
fn perf_events_serve_kernels_without_multi_links() {
    if have(&[Need::Bpf]) {
        assert_eq!(
            record(Choice::Embedded, Mechanism::PerfEvents),
            record(Choice::Embedded, Mechanism::Multi)
        );
    }
}

#[test]
fn programs_that_know_their_site_serve_kernels_without_cookies() {
    if have(&[Need::Bpf, Need::Bcc]) {
        let usual = record(Choice::Embedded, Mechanism::Multi);
        assert_eq!(record(Choice::Embedded, Mechanism::Separate), usual);
        assert_eq!(record(Choice::Bcc, Mechanism::Separate), usual);
    }
}

#[test]
fn bcc_programs_load_and_attach_by_our_own_means() {
    if have(&[Need::Bpf, Need::Bcc]) {
        assert_eq!(record(Choice::Bcc, Mechanism::Auto), record(Choice::Embedded, Mechanism::Auto));
    }
}
