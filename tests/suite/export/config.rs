//! Configurations: reloading, limits, defaults and mistakes.

use super::*;
use std::net::TcpListener;
use usdt_e2e::{Need, attach, have, text};

/// SIGHUP reloads the configuration. Unchanged entries go on counting, and an invalid file changes
/// nothing.
#[test]
fn sighup_reloads_the_configuration() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (app, target) = start_pairs();
    let (first, second) = (free_port(), free_port());
    let head = |port: u16| format!("[prometheus]\nlisten = \"127.0.0.1:{port}\"\n");
    let kept = "[[count]]\nprobes = [\"ops:begin\"]\nname = \"kept\"\n";
    let config = write(app.folder.path(), "export.toml", format!("{}{kept}", head(first)));
    let exporter = start_exporter(&["--config", &config, "-p", &target.pid().to_string()]);
    wait_until_attached(first, 1);
    target.signal(SIGINT);
    let kept_total = |port| total(&get(port, "/metrics"), "kept_total");
    wait_for("all operations", || kept_total(first) == Some(STARTED as f64));
    write(app.folder.path(), "export.toml", format!("{}{kept}labels = [", head(second)));
    exporter.signal(SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(kept_total(first), Some(STARTED as f64), "an invalid configuration changes nothing");
    write(
        app.folder.path(),
        "export.toml",
        format!(
            "{}{kept}\n[[count]]\nprobes = [\"ops:end\"]\n[[latency]]\nstart = \"ops:begin\"\nend = \"ops:end\"\n",
            head(second)
        ),
    );
    exporter.signal(SIGHUP);
    wait_for("the new endpoint", || get(second, "/healthz") == "ok\n");
    assert_eq!(kept_total(second), Some(STARTED as f64), "an unchanged entry goes on counting");
    // The endpoint opens before the new entries are attached.
    wait_for("the new entries", || {
        total(&get(second, "/metrics"), "usdt_ops_end_total") == Some(0.0)
    });
    let count = total(&get(second, "/metrics"), "usdt_ops_end_latency_seconds_count");
    assert_eq!(count, Some(0.0), "a new entry starts at 0");
    assert_eq!(get(first, "/healthz"), "");
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success());
    assert!(
        errors.contains("TOML parse error")
            && errors.contains("the previous configuration stays active"),
        "{errors}"
    );
    assert!(errors.contains("export.toml: configuration reloaded"), "{errors}");
}

/// A configuration that matches nothing yet is corrected while the exporter waits.
#[test]
fn attaches_after_a_reload_to_what_matched_nothing_before() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let (app, target) = start_pairs();
    let port = free_port();
    let content = |glob: &str| {
        format!("[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[[count]]\nprobes = [\"{glob}\"]\n")
    };
    let config = write(app.folder.path(), "export.toml", content("ops:begni"));
    let exporter = start_exporter(&["--config", &config, "-p", &target.pid().to_string()]);
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    write(app.folder.path(), "export.toml", content("ops:begin"));
    exporter.signal(SIGHUP);
    wait_for("the probe", || total(&get(port, "/metrics"), "usdt_ops_begin_total") == Some(0.0));
    target.signal(SIGINT);
    wait_for("all operations", || {
        total(&get(port, "/metrics"), "usdt_ops_begin_total") == Some(STARTED as f64)
    });
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success(), "{errors}");
    assert!(errors.contains("no probe matches `ops:begni` yet"), "{errors}");
}

/// Without a configuration, every probe is counted and pairs of starts and ends are timed. With
/// one, labels stay within their limit.
#[test]
fn exports_without_configuration_and_limits_series() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("packages", Mode::Sealed));
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    // The exporter ends with its command, so the final counts are in its summary.
    let out = attach(&["export", "--prometheus", &listen, "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains(" 0 dropped"), "{}", text(&out.stderr));

    let (app, target) = start_pairs();
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[limits]\nseries = 10\n[[count]]\nprobes = [\"ops:begin\"]\nlabels = [\"id\"]\nname = \"ids\"\n"
    );
    let config = write(app.folder.path(), "export.toml", &config);
    let exporter = start_exporter(&["--config", &config, "-p", &target.pid().to_string()]);
    wait_until_attached(port, 1);
    target.signal(SIGINT);
    let outcome = |outcome: &str| {
        let page = get(port, "/metrics");
        metric(&page, "usdt_attach_hits_total")
            .get(&format!("{{entry=\"ids\",outcome=\"{outcome}\"}}"))
            .copied()
    };
    wait_for("all operations", || {
        outcome("delivered").zip(outcome("dropped")).is_some_and(|(a, b)| a + b == STARTED as f64)
    });
    assert!(metric(&get(port, "/metrics"), "ids_total").len() <= 10);
    assert!(outcome("dropped") > Some(300.0));
    exporter.interrupt();
}

#[test]
fn rejects_invalid_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let prometheus = "[prometheus]\nlisten = \"127.0.0.1:0\"\n";
    for (config, expected) in [
        ("[[count]]\nprobe = [\"a\"]\n", "unknown field `probe`, expected one of `probes`, `name`"),
        ("[[count]]\nprobes = []\n", "count: `probes` is empty"),
        ("[[hist]]\nprobes = 1\nvalue = \"n\"\n", "expected a glob such as"),
        (
            "[[hist]]\nprobes = \"a:b\"\nvalue = \"n\"\nbuckets = { start = 2, end = 2, width = 1 }\n",
            "`start` must be below `end`",
        ),
        ("[[count]]\nprobes = [\"a:b\"]\nname = \"a-b\"\n", "`a-b` is not a metric name"),
        ("[[count]]\nprobes = [\"a:b\"]\nfilter = \"x ==\"\n", "count of a:b: filter:"),
        (
            "[[count]]\nprobes = [\"a\"]\nname = \"x\"\n[[count]]\nprobes = [\"b\"]\nname = \"x\"\n",
            "another entry has the name `x`",
        ),
        ("[[span]]\nstart = \"a\"\nend = \"b\"\n", "add [otlp] with an `endpoint`"),
        ("[otlp]\nendpoint = \"https://x\"\n", "for TLS, run a collector on this host"),
        ("[otlp]\nendpoint = \"http://x\"\ninterval = \"5 minutes\"\n", "interval = \"5 minutes\""),
        ("[limits]\nbuffer = 1000\n", "`buffer` must be a power of two"),
        (
            "[target]\nall = true\nexe = \"/bin/true\"\n",
            "exactly one of `pids`, `exe`, `cgroup` and `all`",
        ),
        ("", "nothing to export"),
    ] {
        let config = if config.contains("[otlp]") {
            config.to_owned()
        } else {
            format!("{prometheus}{config}")
        };
        let path = write(folder.path(), "bad.toml", &config);
        let out = attach(&["agent", "--config", &path]);
        assert_eq!(out.status.code(), Some(2), "{config}");
        let errors = text(&out.stderr);
        assert!(errors.contains(expected) && errors.contains("bad.toml"), "{config}: {errors}");
    }
    let out = attach(&["export", "-p", "1"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("nowhere to export to"), "{}", text(&out.stderr));
    if have(&[Need::Bpf]) {
        let (_app, target) = start_pairs();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let out = attach(&["export", "-p", &target.pid().to_string(), "--prometheus", &address]);
        assert_eq!(out.status.code(), Some(3));
        assert!(
            text(&out.stderr).contains(&format!("cannot listen at {address}")),
            "{}",
            text(&out.stderr)
        );
    }
}

#[test]
fn schema_accepts_the_documented_configuration() {
    if !have(&[Need::File("/usr/lib/python3/dist-packages/jsonschema/__init__.py")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let schema = stdout(command("usdt-attach").args(["export", "--schema"]));
    let schema = write(folder.path(), "schema.json", &schema);
    let example = usdt_e2e::root().join("docs/export.toml");
    let config: toml::Value = toml::from_str(&std::fs::read_to_string(&example).unwrap()).unwrap();
    let config = write(folder.path(), "config.json", serde_json::to_string(&config).unwrap());
    validate(&schema, &config);
    let checked = attach(&["agent", "--check", "--config", example.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}

/// Entries name paths of function probes. After a reload, other paths and other functions are read
/// in the same process.
#[test]
fn entries_name_paths_of_functions() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("paths");
    let mut go = command("go");
    go.args(["build", "-o"]).arg(&app).arg("./paths");
    stdout(go.current_dir(usdt_e2e::root().join("tests/go/functions")));
    let facts = folder.path().join("facts.json");
    let mut program = command(&app);
    program.arg(&facts).arg("wait").stdin(std::process::Stdio::piped());
    let mut program = Process(program.spawn().unwrap());
    let mut input = program.0.stdin.take().unwrap();
    let port = free_port();
    let head = format!("[prometheus]\nlisten = \"127.0.0.1:{port}\"\n");
    let first = "[[count]]\nprobes = \"func:main.timed\"\nlabels = [\"e.id\"]\n";
    let config = write(folder.path(), "export.toml", format!("{head}{first}"));
    let exporter = start_exporter(&["--config", &config, "-p", &program.pid().to_string()]);
    wait_until_attached(port, 1);
    let entries = "\
[[count]]\nprobes = \"func:main.timed\"\nlabels = [\"e.id\"]\nfilter = \"e.when.ext == 0\"\n\
[[count]]\nprobes = \"func:main.dynamic\"\nname = \"errors\"\nlabels = [\"err.(*fs.PathError).Path\"]\n\
[[count]]\nprobes = \"func:main.elements\"\nname = \"elements\"\nlabels = [\"names[1]\"]\nfilter = \"items[1].ID == 10\"\n\
[[hist]]\nprobes = \"func:main.elements\"\nvalue = \"len(items)\"\nname = \"items\"\n\
[[latency]]\nstart = \"func:main.dynamic\"\nend = \"func:main.dynamic%return\"\nname = \"calls\"\nlabels = [\"err.(*fs.PathError).Op\"]\n";
    write(folder.path(), "export.toml", format!("{head}{entries}"));
    exporter.signal(SIGHUP);
    wait_for("the entries", || total(&get(port, "/metrics"), "usdt_attach_sites") >= Some(6.0));
    writeln!(input, "go").unwrap();
    wait_for("the calls", || facts.exists());
    let page = get(port, "/metrics");
    // Each series has the label of its service, too.
    let values = |name: &str, label: &str| -> BTreeMap<String, f64> {
        let series = metric(&page, name);
        let value = |labels: &str| {
            let (_, rest) = labels.split_once(&format!("{label}=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        series.iter().map(|(labels, count)| (value(labels), *count)).collect()
    };
    let pairs = |pairs: &[(&str, f64)]| -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let errors = values("errors_total", "err___fs_PathError__Path");
    assert_eq!(errors, pairs(&[("/none", 3.0), ("/some", 2.0)]), "{page}");
    assert_eq!(values("elements_total", "names_1_"), pairs(&[("one", 3.0)]), "{page}");
    assert_eq!(values("usdt_func_main_timed_total", "e_id"), pairs(&[("0", 1.0)]), "{page}");
    assert_eq!(total(&page, "items_count"), Some(6.0), "{page}");
    assert_eq!(total(&page, "items_sum"), Some(10.0), "{page}");
    let calls = values("calls_count", "err___fs_PathError__Op");
    assert_eq!(calls, pairs(&[("close", 2.0), ("open", 3.0)]), "{page}");
    drop(input);
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success(), "{errors}");
}
