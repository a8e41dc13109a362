//! Unmodified binaries of older Go releases, and of distributions.

use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use usdt_e2e::unmodified::{Kind, build, check};
use usdt_e2e::{
    Need, Process, attach, command, copy, free_port, have, json_lines, stdout, text, usdt_gen,
    wait_for,
};

/// The release of Debian 12. Its prologues have no push.
const OLD: &str = TESTED_UNMODIFIED[2];

#[test]
fn counts_calls_of_older_releases_exactly() {
    if !have(&[Need::Bpf, Need::Program("go"), Need::Program("gcc"), Need::Program("ld.lld")]) {
        return;
    }
    let [.., newest] = TESTED;
    for (release, kinds) in [(OLD, &Kind::ALL[..]), (newest, &[Kind::ExternalPie])] {
        for kind in kinds {
            let folder = tempfile::tempdir().unwrap();
            let app = build(release, *kind, folder.path()).unwrap();
            for backend in ["embedded", "bcc"] {
                if backend == "bcc" && !have(&[Need::Bcc]) {
                    continue;
                }
                check(&app, backend)
                    .unwrap_or_else(|e| panic!("{release} {kind:?} {backend}: {e}"));
            }
        }
    }
}

/// Notes at the branch of a stack check are read as the function entries that they describe.
#[test]
fn counts_calls_exactly_in_a_copy_that_was_sealed_with_entries() {
    if !have(&[Need::Bpf, Need::Program("go")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(OLD, Kind::Stripped, folder.path()).unwrap();
    let sealed = usdt_gen(&["seal", "--entries", app.to_str().unwrap()]);
    assert!(sealed.status.success(), "{}", text(&sealed.stderr));
    let listed = attach(&["list", "--json", app.to_str().unwrap(), "net_http:*"]);
    assert!(json_lines(&text(&listed.stdout)).iter().all(|probe| probe["source"] == "note"));
    check(&app, "embedded").unwrap();
}

#[test]
fn go_view_shows_an_older_release() {
    if !have(&[Need::Bpf, Need::Program("go")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(OLD, Kind::Stripped, folder.path()).unwrap();
    let facts_file = folder.path().join("facts.json");
    let mut target =
        Process(command(&app).arg(&facts_file).arg("wait").stdin(Stdio::piped()).spawn().unwrap());
    let mut facts = Value::Null;
    wait_for("the program to write its facts", || {
        facts = serde_json::from_slice(&std::fs::read(&facts_file).unwrap_or_default())
            .unwrap_or_default();
        !facts.is_null()
    });
    let exe = app.to_str().unwrap();
    let out = attach(&["go", "--json", "--duration", "300ms", "--exe", exe]);
    let shown = json_lines(&text(&out.stdout)).pop().unwrap();
    assert_eq!(shown["goroutines"]["live"]["count"], facts["Live"], "{shown}");
    let creators = shown["goroutines"]["creators"].as_array().unwrap();
    let waiting = &creators[0];
    assert_eq!((&waiting["function"], &waiting["live"]), (&"main.main".into(), &20.into()));
    assert!(creators.iter().any(|creator| creator["function"] == "main"), "{creators:?}");
    let first_of_runtime = creators.iter().position(|creator| creator["runtime"] == true);
    let after = &creators[first_of_runtime.unwrap()..];
    assert!(after.iter().all(|creator| creator["runtime"] == true), "{creators:?}");

    let shown = text(&attach(&["go", "--top", "1", "--duration", "300ms", "--exe", exe]).stdout);
    assert!(shown.contains("      LIVE    CREATED  BY (1 of "), "{shown}");
    assert!(shown.contains("        20          0  main.main main.go:"), "{shown}");
    assert!(!shown.contains(" runtime."), "{shown}");

    // Which process is meant is not clear if there are two.
    let second =
        Process(command(&app).arg(&facts_file).arg("wait").stdin(Stdio::piped()).spawn().unwrap());
    second.wait_for_exec(&app);
    let out = attach(&["go", "--exe", exe]);
    let mut pids = [target.pid(), second.pid()];
    pids.sort_unstable();
    let expected =
        format!("error: 2 processes execute {exe}; pass -p with one of {}, {}\n", pids[0], pids[1]);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(2), expected));
    drop(target.0.stdin.take());
    drop(second);
    assert!(target.0.wait().unwrap().success());
    let out = attach(&["go", "--exe", exe]);
    let expected =
        format!("error: no process that you may read executes {exe}; pass -- CMD to start one\n");
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(2), expected));
}

/// The package of Debian is stripped, and built with the distribution's Go release.
#[test]
fn go_view_shows_the_routes_of_a_program_of_debian() {
    const REQUESTS: usize = 25;
    let program = "/usr/bin/prometheus";
    if !have(&[Need::Bpf, Need::File(program), Need::Program("curl")]) {
        return;
    }
    let app = copy(Path::new(program));
    let (folder, port) = (app.folder.path(), free_port());
    let config = usdt_e2e::write(folder, "prometheus.yml", "global: {}\n");
    let target = Process::start(
        command(&app.path)
            .arg(format!("--config.file={config}"))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}")),
    );
    let request = |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        command("curl").args(["-s", "-f", "-o", "/dev/null", &url]).status().unwrap().success()
    };
    wait_for("prometheus to answer", || request("/-/ready"));
    let pid = target.pid().to_string();
    let tracer = Process::start(command("usdt-attach").args([
        "go",
        "--json",
        "--interval",
        "100ms",
        "-p",
        &pid,
    ]));
    tracer.wait_for_all_links();
    for _ in 0..REQUESTS {
        assert!(request("/-/healthy"));
    }
    let (status, shown, errors) = tracer.interrupt();
    assert!(status.success(), "{errors}");
    let shown = json_lines(&shown).pop().unwrap();
    let live = shown["goroutines"]["live"]["count"].as_u64().unwrap();
    assert!(live > 5, "{shown}");
    let creators = shown["goroutines"]["creators"].as_array().unwrap();
    assert!(creators.iter().any(|creator| creator["function"] == "main"), "{creators:?}");
    let routes = shown["http"].as_array().unwrap();
    let route = routes.iter().find(|route| route["path"] == "/-/healthy").unwrap();
    assert_eq!((&route["method"], &route["requests"]), (&"GET".into(), &REQUESTS.into()));
    assert_eq!((&route["errors"], &route["times"]["count"]), (&0.into(), &REQUESTS.into()));
}

#[test]
fn names_the_cost_and_the_limits_of_function_entries() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = build(OLD, Kind::Stripped, folder.path()).unwrap();
    let app = app.to_str().unwrap();
    let list = |file: &str, globs: &[&str]| {
        let out = attach(&[&["list", file], globs].concat());
        (text(&out.stdout), text(&out.stderr))
    };
    let (shown, errors) = list(app, &[]);
    assert_eq!(shown, "");
    let hint =
        format!("hint: this Go binary has 17 runtime probes: usdt-attach list {app} 'go:*'\n");
    assert_eq!(errors, format!("{app}: no probes\n{hint}"));
    let (shown, errors) = list(app, &["go:*"]);
    assert_eq!(errors, "");
    // System calls are entered through functions without a stack check.
    if cfg!(target_arch = "x86_64") {
        assert!(shown.contains("go:syscall__begin(uint64_t id)  needs --single-step\n"), "{shown}");
    }
    let created = "go:goroutine__create(uint64_t parent, uintptr_t fn, uintptr_t caller)\n";
    assert!(shown.contains(created), "{shown}");

    // The same file, as if an older release had built it.
    let version = format!("go{OLD}");
    let older = version.replace("go1.19", "go1.15");
    let mut data = std::fs::read(app).unwrap();
    let magic = position_of(&data, b"\xff Go buildinf:");
    let at = magic + position_of(&data[magic..], version.as_bytes());
    data[at..at + older.len()].copy_from_slice(older.as_bytes());
    let file = usdt_e2e::write(folder.path(), "older", data);
    let (arch, first) = if cfg!(target_arch = "x86_64") { ("amd64", 17) } else { ("arm64", 18) };
    let reason = format!(
        "it was built with {older}, which passes arguments on the stack; rebuild it with Go 1.{first} ({arch}) or newer"
    );
    let (shown, errors) = list(&file, &["go:*"]);
    assert_eq!(shown, "");
    let warning = format!("warning: skipped the function entries of {file}: {reason}\n");
    assert!(errors.starts_with(&warning) && errors.contains("error: no probe matches"), "{errors}");
    let (_, errors) = list(&file, &[]);
    assert!(errors.ends_with(&format!("hint: this Go binary has no runtime probes: {reason}\n")));
    stdout(command("chmod").args(["+x", &file]));
    let out = attach(&["go", "--", &file]);
    let expected = format!("{warning}error: {file} has no probes\n");
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(2), expected));
}

fn position_of(data: &[u8], needle: &[u8]) -> usize {
    data.windows(needle.len()).position(|window| window == needle).unwrap()
}
