//! The probes of usdt-attach itself: one usdt-attach traces another.

use crate::export::{get, wait_until_attached};
use crate::session::tracer;
use std::collections::BTreeSet;
use std::time::Duration;
use usdt_e2e::{
    Fixture, Mode, Need, Process, command, copy, events_and_summary, free_port, have, list_probes,
    text, tools, wait_for,
};

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

#[test]
fn a_tracer_says_that_it_drops_events() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let mut target = Process::start(command(&app.path).args(["-per", "200000"]));
    target.wait_for_exec(&app.path);
    let pid = target.pid().to_string();
    let traced = tracer(&["trace", "-p", &pid, "e2e:hit", "--json", "--max-string", "2048"]);
    // Its output is not read until the second one is attached.
    target.0.wait().unwrap();
    let second = tracer(&["trace", "-p", &traced.pid().to_string(), "usdt_attach:drop", "--json"]);
    wait_for("the second tracer", || second.is_attached());
    // The counts are read once a second.
    std::thread::sleep(Duration::from_millis(1100));
    let (status, out, errors) = traced.finish();
    assert!(status.success(), "{errors}");
    let (_, summary) = events_and_summary(&out);
    let (status, out, errors) = second.finish();
    assert!(status.success(), "{errors}");
    let (events, _) = events_and_summary(&out);
    assert_eq!(events.len(), 1, "{out}");
    let number = |name: &str| events[0]["args"][name].as_u64();
    assert_eq!((number("dropped"), number("hits")), (summary["dropped"].as_u64(), Some(200_000)));
}

#[test]
fn an_exporter_says_how_many_series_it_has_collected() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("ticks", Mode::Sealed));
    let target = Process::start(&mut command(&app.path));
    target.wait_for_exec(&app.path);
    let port = free_port();
    let (pid, endpoint) = (target.pid().to_string(), format!("127.0.0.1:{port}"));
    let mut exporter = command(tools().join("usdt-attach"));
    exporter.args(["export", "-p", &pid, "e2e:hit", "--prometheus", &endpoint]);
    let exporter = Process::start(&mut exporter);
    wait_until_attached(port, 1);
    let args = ["trace", "-p", &exporter.pid().to_string(), "usdt_attach:export", "--json"];
    let tracer = tracer(&[&args[..], &["--events", "1"]].concat());
    wait_for("the tracer", || tracer.is_attached());
    let page = get(port, "/metrics");
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    let (events, _) = events_and_summary(&out);
    let samples = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    let series = events[0]["args"]["series"].as_u64().unwrap();
    // A histogram is one series of several samples.
    assert!(series > 5 && series <= samples as u64, "{series} of {samples}: {out}\n{page}");
    assert!(events[0]["args"]["duration_ns"].as_u64() > Some(0), "{out}");
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
