//! What tracing costs, and what works here: `cost` and `doctor`.

use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, lines, semaphore, semaphore_of,
    text, tools, wait_for,
};

#[test]
fn hits_are_counted_and_priced() {
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
    let prices = lines(&text(&out.stdout));
    let hit = prices.iter().find(|p| p["probe"] == "hit").unwrap();
    assert_eq!(hit["hits"], 20000, "{hit}");
    let (ns, rate) =
        (hit["ns_per_hit"].as_f64().unwrap(), hit["hits_per_second"].as_f64().unwrap());
    assert!(ns > 20.0 && ns < 1e6 && rate > 0.0, "{hit}");
    let share = hit["cpu_share"].as_f64().unwrap();
    assert!((share - ns * rate / 1e9).abs() < 1e-6 * share.max(1.0), "{hit}");
    assert!(prices.iter().all(|p| p["probe"] == "hit" || p["hits"] == 0), "{prices:?}");
    let out = attach(&["cost", "e2e:hit", "--", app.as_str(), "-per", "100"]);
    let shown = text(&out.stdout);
    assert!(shown.starts_with("      HITS/S   NS/HIT  CPU SHARE  SITE    PROBE\n"), "{shown}");
    assert!(shown.lines().nth(1).unwrap().ends_with("  e2e:hit"), "{shown}");
    assert!(text(&out.stderr).contains("% of one CPU, over "), "{}", text(&out.stderr));
}

#[test]
fn what_is_over_its_budget_is_detached() {
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
    wait_for("it to be detached", || semaphore(target.pid(), address) == 0);
    let (status, out, errors) = cost.interrupt();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert_eq!(lines(&out)[0]["over_budget"], true, "{out}");
}

/// A note whose site is an ordinary instruction: refused, unless the price is accepted, and named then.
#[test]
#[cfg(target_arch = "x86_64")]
fn single_steps_are_named() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = crate::verify::GOOD.replace("site:\n    nop", "site:\n    movl $7, %eax");
    let app = crate::verify::build(folder.path(), &source);
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
    let price = &lines(&text(&out.stdout))[0];
    assert_eq!((&price["method"], &price["hits"]), (&"single-step".into(), &1.into()), "{price}");
    assert!(price["remark"].as_str().unwrap().contains("single-stepped"), "{price}");
    let out = attach(&["doctor", "--json", app]);
    assert_eq!(out.status.code(), Some(1));
    let findings = lines(&text(&out.stdout));
    let probe = findings.iter().find(|f| f["check"] == "prov:name").unwrap();
    assert_eq!(probe["state"], "missing");
    assert!(probe["mend"].as_str().unwrap().contains("--single-step"), "{probe}");
}

#[test]
fn doctor() {
    if !have(&[Need::Bpf, Need::Program("setpriv")]) {
        return;
    }
    let app = Fixture::get("hits", Mode::Sealed);
    let out = attach(&["doctor", "--json", app.to_str().unwrap()]);
    let findings = lines(&text(&out.stdout));
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
        "7 of 7 sites can be attached to without surprise"
    );
    assert!(findings.iter().all(|f| (f["state"] == "ok") == f["mend"].is_null()), "{findings:?}");
    let out = command("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(tools().join("usdt-attach"))
        .arg("doctor")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let shown = text(&out.stdout);
    assert!(shown.starts_with("NOT    privileges: without CAP_BPF"), "{shown}");
    assert!(shown.contains("\nNOT    BPF: cannot load the BPF program"), "{shown}");
}
