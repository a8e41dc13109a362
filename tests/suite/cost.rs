//! The overhead of tracing and the state of the machine: `cost` and `doctor`.

use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, json_lines, semaphore, semaphore_of,
    text, tools, wait_for,
};

#[test]
fn reports_hits_and_their_cost() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let out = attach(&[
        "cost",
        "--json",
        "--duration",
        "20s",
        "e2e:*",
        "--",
        app.as_str(),
        "-per",
        "20000",
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let costs = json_lines(&text(&out.stdout));
    let hit = costs.iter().find(|p| p["probe"] == "hit").unwrap();
    assert_eq!(hit["hits"], 20000, "{hit}");
    let (ns, rate) =
        (hit["ns_per_hit"].as_f64().unwrap(), hit["hits_per_second"].as_f64().unwrap());
    assert!(ns > 20.0 && ns < 1e6 && rate > 0.0, "{hit}");
    let share = hit["cpu_share"].as_f64().unwrap();
    assert!((share - ns * rate / 1e9).abs() < 1e-6 * share.max(1.0), "{hit}");
    assert!(costs.iter().all(|p| p["probe"] == "hit" || p["hits"] == 0), "{costs:?}");
    let out = attach(&["cost", "e2e:hit", "--", app.as_str(), "-per", "100"]);
    let shown = text(&out.stdout);
    assert!(shown.starts_with("      HITS/S   NS/HIT  CPU SHARE  SITE    PROBE\n"), "{shown}");
    assert!(shown.lines().nth(1).unwrap().ends_with("  e2e:hit"), "{shown}");
    assert!(text(&out.stderr).contains("% of one CPU, over "), "{}", text(&out.stderr));
}

#[test]
fn detaches_probes_over_budget() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let address = semaphore_of(&app.path, "e2e:hit");
    let target = Process::start(command(&app.path).args(["-per", "200000000", "-linger", "20s"]));
    let pid = target.pid().to_string();
    let cost = Process::start(command(tools().join("usdt-attach")).args([
        "cost",
        "--json",
        "--budget",
        "1%",
        "--duration",
        "20s",
        "-p",
        &pid,
        "e2e:hit",
    ]));
    wait_for("the tracer", || semaphore(target.pid(), address) == 1);
    wait_for("the probe to be detached", || semaphore(target.pid(), address) == 0);
    let (status, out, errors) = cost.interrupt();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert_eq!(json_lines(&out)[0]["over_budget"], true, "{out}");
}

/// A note whose site is an ordinary instruction is rejected. With `--single-step` it is attached
/// to, and reports mention the overhead.
#[test]
#[cfg(target_arch = "x86_64")]
fn reports_single_stepped_sites() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source =
        crate::verification::ASSEMBLY.replace("site:\n    nop", "site:\n    movl $7, %eax");
    let app = crate::verification::build(folder.path(), &source);
    let app = app.to_str().unwrap();
    let out = attach(&["trace", "--", app]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("not a NOP; a probe there is single-stepped"),
        "{}",
        text(&out.stderr)
    );
    let out = attach(&["trace", "--json", "--single-step", "--", app]);
    assert!(text(&out.stdout).contains("\"args\":{\"arg0\":7}"), "{}", text(&out.stdout));
    let out = attach(&["cost", "--json", "--single-step", "--", app]);
    let cost = &json_lines(&text(&out.stdout))[0];
    assert_eq!((&cost["method"], &cost["hits"]), (&"single-step".into(), &1.into()), "{cost}");
    assert!(cost["remark"].as_str().unwrap().contains("single-stepped"), "{cost}");
    let out = attach(&["doctor", "--json", app]);
    assert_eq!(out.status.code(), Some(1));
    let findings = json_lines(&text(&out.stdout));
    let probe = findings.iter().find(|f| f["check"] == "prov:name").unwrap();
    assert_eq!(probe["state"], "missing");
    assert!(probe["hint"].as_str().unwrap().contains("--single-step"), "{probe}");
}

#[test]
fn doctor_reports_each_kernel_feature() {
    if !have(&[Need::Bpf, Need::Program("setpriv")]) {
        return;
    }
    let app = Fixture::get("hits", Mode::Sealed);
    let out = attach(&["doctor", "--json", app.to_str().unwrap()]);
    let findings = json_lines(&text(&out.stdout));
    let all_ok = findings.iter().all(|f| f["state"] == "ok");
    assert_eq!(out.status.code(), Some(i32::from(!all_ok)));
    for check in
        ["privileges", "BPF", "uprobes", "semaphores", "links", "cookies", "event buffer", "sites"]
    {
        let finding = findings.iter().find(|f| f["check"] == check).unwrap();
        assert!(finding["state"] != "missing", "{finding}");
    }
    assert_eq!(
        findings.last().unwrap()["detail"],
        "7 of 7 probe sites can be attached without problems"
    );
    assert!(findings.iter().all(|f| (f["state"] == "ok") == f["hint"].is_null()), "{findings:?}");
    let details = |path: &std::path::Path| {
        let out = attach(&["doctor", "--json", path.to_str().unwrap()]);
        let path = path.to_str().unwrap();
        json_lines(&text(&out.stdout))
            .into_iter()
            .filter(|f| f["check"] == path)
            .collect::<Vec<_>>()
    };
    let sealed = details(&app);
    assert!(sealed[0]["detail"].as_str().unwrap().starts_with("a Go program (go1."), "{sealed:?}");
    assert_eq!(
        sealed[1]["detail"],
        "sealed: 7 probes of 2 providers (e2e, other_provider), in notes that every tracer reads"
    );
    let plain = details(&Fixture::get("hits", Mode::Plain));
    assert!(plain[1]["detail"].as_str().unwrap().starts_with("not sealed: 7 probes"), "{plain:?}");
    assert!(plain[1]["hint"].as_str().unwrap().contains("usdt-gen seal"), "{plain:?}");
    let other = details("/bin/true".as_ref());
    assert_eq!(
        (&other[0]["detail"], &other[1]["state"]),
        (&"not a Go program".into(), &"degraded".into())
    );
    let out = command("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(tools().join("usdt-attach"))
        .arg("doctor")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let shown = text(&out.stdout);
    assert!(shown.starts_with("missing  privileges: without CAP_BPF"), "{shown}");
    assert!(shown.contains("\nmissing  BPF: cannot load the BPF program"), "{shown}");
}
