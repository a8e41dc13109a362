//! The probes of usdt-attach itself: one usdt-attach traces another.

use std::collections::BTreeSet;
use usdt_e2e::{
    Fixture, Mode, Need, Process, command, copy, events_and_summary, have, list_probes, text,
    tools, wait_for,
};

use crate::session::tracer;

/// The probes with the names of their arguments.
const PROBES: [(&str, &[&str]); 5] = [
    ("attach", &["sites", "files", "duration_ns"]),
    ("detach", &["delivered", "attached_ns", "duration_ns"]),
    ("drain", &["events", "duration_ns"]),
    ("drop", &["dropped", "hits"]),
    ("export", &["series", "duration_ns"]),
];

#[test]
fn usdt_attach_lists_its_own_probes_with_names() {
    let listed = list_probes(&tools().join("usdt-attach"));
    let own: Vec<_> = listed.iter().filter(|p| p["provider"] == "usdt_attach").collect();
    let names: BTreeSet<&str> = own.iter().filter_map(|p| p["probe"].as_str()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), PROBES.map(|(name, _)| name));
    for probe in own {
        assert!(probe["semaphore"].as_u64().is_some_and(|address| address != 0), "{probe}");
        let args = probe["schema"]["args"].as_array().into_iter().flatten();
        let args: Vec<&str> = args.filter_map(|arg| arg["name"].as_str()).collect();
        let expected =
            PROBES.iter().find(|(name, _)| probe["probe"] == *name).map(|(_, args)| *args);
        assert_eq!(Some(&args[..]), expected, "{probe}");
    }
}

#[test]
fn a_tracer_can_be_traced() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let ticks = copy(&Fixture::get("ticks", Mode::Sealed));
    let target = Process::start(&mut command(&ticks.path));
    target.wait_for_exec(&ticks.path);
    let traced = tracer(&["trace", "-p", &target.pid().to_string(), "e2e:hit", "--json"]);
    wait_for("the tracer", || traced.is_attached());
    let second = tracer(&["trace", "-p", &traced.pid().to_string(), "usdt_attach:*", "--json"]);
    wait_for("the second tracer", || second.is_attached());
    // A histogram of the tracer's own draining, as the manual shows it.
    let pid = traced.pid().to_string();
    let mut hist = command(tools().join("usdt-attach"));
    hist.args(["hist", "-p", &pid, "usdt_attach:drain", "duration_ns", "--duration", "300ms"]);
    let hist = hist.output().unwrap();
    assert!(hist.status.success(), "{}", text(&hist.stderr));
    assert!(text(&hist.stdout).contains("usdt_attach:drain"), "{}", text(&hist.stdout));
    let (status, out, errors) = traced.interrupt();
    assert!(status.success(), "{errors}");
    let (_, summary) = events_and_summary(&out);
    let (status, out, errors) = second.finish();
    assert!(status.success(), "{errors}");
    let (events, _) = events_and_summary(&out);
    let of = |probe: &'static str| events.iter().filter(move |event| event["probe"] == probe);
    assert!(of("drain").count() > 5, "{out}");
    for drain in of("drain") {
        let args = &drain["args"];
        assert!(
            args["events"].as_u64() > Some(0) && args["duration_ns"].as_u64() > Some(0),
            "{drain}"
        );
    }
    let detached: Vec<_> = of("detach").collect();
    assert_eq!(detached.len(), 1, "{out}");
    // The last events are delivered after that.
    let delivered = detached[0]["args"]["delivered"].as_u64();
    assert!(delivered > Some(0) && delivered <= summary["delivered"].as_u64(), "{out}");
}

/// Otherwise each event of a batch would be in the next batch, without an end.
#[test]
fn a_tracer_of_its_own_probes_does_not_fire_them() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let program = tools().join("usdt-attach");
    let exe = program.to_str().unwrap();
    let tracer = tracer(&["trace", "--exe", exe, "usdt_attach:*", "--json", "--duration", "300ms"]);
    let pid = tracer.pid();
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    // Other tracers may run at the same time.
    let (events, _) = events_and_summary(&out);
    let own: Vec<_> = events.iter().filter(|event| event["pid"] == pid).collect();
    assert!(own.is_empty(), "{own:?}");
}
