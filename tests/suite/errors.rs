//! Mistakes of the user: each is answered with one clear message, a remedy, and its exit code.

use std::process::Output;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, attach, command, copy, have, text, tools, usdt_gen,
};

/// Returns the exit code and the message, with the temporary folder replaced by `DIR`.
fn outcome(out: &Output, folder: &tempfile::TempDir) -> (Option<i32>, String) {
    assert_eq!(text(&out.stdout), "");
    (out.status.code(), text(&out.stderr).replace(folder.path().to_str().unwrap(), "DIR"))
}

fn generate(definition: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probes.d");
    std::fs::write(&file, definition).unwrap();
    let result = outcome(&usdt_gen(&[file.to_str().unwrap()]), &folder);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is written");
    result
}

#[test]
fn explains_mistakes_in_definitions() {
    let (code, message) = generate("provider app {\n\tprobe a(uint46_t id);\n};\n");
    assert_eq!(code, Some(2));
    assert_eq!(
        message,
        "\
error: unknown type `uint46_t`
 --> DIR/probes.d:2:10
  |
2 |     probe a(uint46_t id);
  |             ^^^^^^^^ not declared in this file
  |
  = help: did you mean `uint64_t`?

error: DIR/probes.d: 1 error; nothing was written
"
    );
    for (definition, expected) in [
        (
            "provider app {\n\tprobe a int id);\n\tprobe b();\n};\n",
            "expected `(` after the probe's name, found `int`\n --> DIR/probes.d:2:9",
        ),
        (
            "struct s { int a; };\nprovider app {\n\tprobe a(struct s v);\n};\n",
            "a struct cannot be passed by value\n --> DIR/probes.d:3:10",
        ),
        (
            "provider app {\n\tprobe a(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l, int m);\n};\n",
            "probe `a` has 13 argument words; tracers accept 12",
        ),
        (
            "provider app {\n\tprobe a(int id);\n",
            "expected `}` after the last probe, found the end of the file",
        ),
    ] {
        let (code, message) = generate(definition);
        assert_eq!(code, Some(2));
        assert!(message.contains(expected), "{message}");
        assert_eq!(
            message.matches("error: ").count(),
            2,
            "one message for one mistake, and the summary: {message}"
        );
    }
}

#[test]
fn rejects_unreadable_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("script"), "#!/bin/sh\n").unwrap();
    std::fs::write(path("empty"), "").unwrap();
    let complete = std::fs::read(Fixture::get("hits", Mode::Sealed)).unwrap();
    std::fs::write(path("cut"), &complete[..complete.len() / 2]).unwrap();
    std::fs::write(path("binary.d"), [0xff, 0xfe, 0]).unwrap();
    for (file, message) in [
        ("script", "error: DIR/script: not an ELF file\n"),
        ("empty", "error: DIR/empty: the file is empty\n"),
        (
            "cut",
            "error: DIR/cut: truncated or damaged ELF file: section headers (is the file cut off?)\n",
        ),
        ("nowhere", "error: cannot open DIR/nowhere: No such file or directory (os error 2)\n"),
        ("", "error: DIR/: not a regular file\n"),
    ] {
        assert_eq!(
            outcome(&attach(&["list", &path(file)]), &folder),
            (Some(2), message.to_owned())
        );
    }
    for (file, message) in [
        ("script", "error: DIR/script: not an ELF file\n"),
        (
            "cut",
            "error: DIR/cut: truncated or damaged ELF file: section headers (is the file cut off?)\n",
        ),
        ("nowhere", "error: cannot read DIR/nowhere: No such file or directory (os error 2)\n"),
    ] {
        assert_eq!(
            outcome(&usdt_gen(&["seal", &path(file)]), &folder),
            (Some(2), message.to_owned())
        );
    }
    for (file, message) in [
        ("nowhere.d", "error: cannot read DIR/nowhere.d: No such file or directory (os error 2)\n"),
        ("binary.d", "error: DIR/binary.d is not a text file: invalid UTF-8 at byte 0\n"),
    ] {
        assert_eq!(outcome(&usdt_gen(&[&path(file)]), &folder), (Some(2), message.to_owned()));
    }
}

#[test]
fn rejects_a_glob_without_match() {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (code, message) =
        outcome(&attach(&["list", app.as_str(), "e2e:hit", "e2e:nosuch*"]), &app.folder);
    assert_eq!(code, Some(2));
    assert_eq!(
        message,
        "error: no probe matches `e2e:nosuch*`; the target has e2e:hit, e2e:types, e2e:more__types, e2e:twelve, e2e:nothing, other_provider:hit, other_provider:keywords\n"
    );
    let (code, message) = outcome(
        &attach(&["trace", "--require-match", "nosuch:*", "--", app.as_str()]),
        &app.folder,
    );
    assert_eq!(
        (code, message.starts_with("error: no probe matches `nosuch:*`; the target has e2e:hit")),
        (Some(2), true)
    );
    let (code, message) = outcome(&attach(&["trace", "--", "true"]), &app.folder);
    assert_eq!(
        (code, message.as_str()),
        (
            Some(2),
            "true has no probes yet; waiting for files that have\nerror: the target had no probes until the end\n"
        )
    );
    let (code, message) =
        outcome(&attach(&["trace", "--require-match", "--", "true"]), &app.folder);
    assert_eq!((code, message.as_str()), (Some(2), "error: true has no probes\n"));
}

#[test]
fn reports_missing_processes_and_commands() {
    let folder = tempfile::tempdir().unwrap();
    let mut exited = std::process::Command::new("true").spawn().unwrap();
    let pid = exited.id().to_string();
    exited.wait().unwrap();
    let message = format!("error: no process {pid}; it may have ended\n");
    assert_eq!(outcome(&attach(&["list", "-p", &pid]), &folder), (Some(2), message.clone()));
    let not_a_file =
        format!("error: there is no file `{pid}`; if it is a process, pass -p {pid}\n");
    assert_eq!(outcome(&attach(&["list", &pid]), &folder), (Some(2), not_a_file));
    assert_eq!(outcome(&attach(&["trace", "-p", &pid]), &folder), (Some(2), message));
    let (code, message) = outcome(&attach(&["trace", "--", "no-such-command"]), &folder);
    assert_eq!(
        (code, message.as_str()),
        (Some(2), "error: cannot run no-such-command: entity not found\n")
    );
}

/// What people type: names of processes, the words that `$(pidof app)` expands to, Go names.
#[test]
fn accepts_processes_as_people_type_them() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // No process of another test has this name.
    let name = format!("e2e-typed-{}", std::process::id());
    let program = folder.path().join(&name);
    usdt_e2e::stdout(command("cp").arg(Fixture::get("hits", Mode::Sealed)).arg(&program));
    let targets = [(); 2].map(|()| {
        let target = Process::start(command(&program).args(["-per", "5"]));
        target.wait_for_exec(&program);
        target
    });
    let pids = targets.each_ref().map(|target| target.pid().to_string());
    let count_hits = |args: &[&str]| {
        let mut all = vec!["count", "--json", "--dry-run"];
        all.extend(args);
        let out = attach(&all);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let by_name = count_hits(&["-p", &name, "e2e:Hit"]);
    let words = count_hits(&["-p", &pids[0], &pids[1], "e2e:hit"]);
    let comma = count_hits(&["-p", &pids.join(","), "e2e:hit"]);
    let quoted = count_hits(&["--pid", &pids.join(" "), "e2e:Hit"]);
    assert!(by_name.contains("\"hit\"") && !by_name.contains("nothing"), "{by_name}");
    assert_eq!([&words, &comma, &quoted], [&by_name; 3]);
    let hist = attach(&["hist", "-p", &pids[0], &pids[1], "e2e:hit", "n", "--dry-run"]);
    assert_eq!(hist.status.code(), Some(0), "{}", text(&hist.stderr));
    let list = attach(&["list", "-p", &name, "e2e:Hit"]);
    assert!(text(&list.stdout).starts_with("e2e:hit("), "{}", text(&list.stdout));

    let (code, message) = outcome(&attach(&["list", "-p", &name[1..]]), &folder);
    let similar = format!(
        "error: no process is named `{}`; similar names are `{name}` (2 processes)",
        &name[1..]
    );
    assert_eq!((code, message.starts_with(&similar)), (Some(2), true), "{message}");
    let (code, message) = outcome(&attach(&["doctor", "-p", &name]), &folder);
    assert!(
        code == Some(2) && message.contains("2 processes are named") && message.contains(&pids[1]),
        "{message}"
    );
}

#[test]
fn rejects_file_names_of_formats_that_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let app = Fixture::get("hits", Mode::Sealed);
    let (code, message) =
        outcome(&attach(&["record", "-o", "x.pftrace", "--", app.to_str().unwrap()]), &folder);
    assert_eq!(code, Some(2));
    assert_eq!(
        message,
        "error: cannot write a Perfetto protobuf file: `record` writes chrome (*.json, which ui.perfetto.dev opens), csv and jsonl; pass -o x.json, or --format to keep the name\n"
    );
}

/// Runs `usdt-attach` as an unprivileged user with the given capabilities only.
fn as_nobody(capabilities: &str, args: &[&str], folder: &Copy) -> Output {
    std::fs::set_permissions(
        folder.folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let tool = folder.folder.path().join("usdt-attach");
    if !tool.exists() {
        usdt_e2e::stdout(command("cp").arg(tools().join("usdt-attach")).arg(&tool));
    }
    let mut setpriv = command("setpriv");
    if !capabilities.is_empty() {
        setpriv
            .arg(format!("--inh-caps={capabilities}"))
            .arg(format!("--ambient-caps={capabilities}"));
    }
    setpriv
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(tool)
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn names_the_missing_capabilities() {
    if !have(&[Need::Bpf, Need::Program("setpriv")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(&mut command(&app.path));
    let pid = target.pid().to_string();
    let foreign = format!(
        "error: process {pid} belongs to another user; run as root or with CAP_SYS_PTRACE\n"
    );
    for args in [["list", "-p", &pid], ["trace", "-p", &pid]] {
        assert_eq!(outcome(&as_nobody("", &args, &app), &app.folder), (Some(3), foreign.clone()));
    }
    // In a container, root lacks capabilities, and it does not help to run as root.
    let sandboxed = |lacking: &str, args: &[&str]| {
        let mut setpriv = command("setpriv");
        setpriv.arg(format!("--bounding-set={lacking}")).arg("--inh-caps=-all");
        let out = setpriv.arg(tools().join("usdt-attach")).args(args).output().unwrap();
        outcome(&out, &app.folder)
    };
    let (code, message) = sandboxed("-sys_ptrace", &["list", "-p", &pid]);
    let expected = format!(
        "error: process {pid} cannot be read: this process is root without CAP_SYS_PTRACE; add the capability: `--cap-add SYS_PTRACE`"
    );
    assert_eq!((code, message.starts_with(&expected)), (Some(3), true), "{message}");
    let (code, message) = sandboxed(
        "-all,+sys_ptrace,+dac_override",
        &["trace", "--exe", app.as_str(), "--duration", "1s"],
    );
    assert_eq!(code, Some(3), "{message}");
    assert!(
        message.ends_with(
            "this root lacks CAP_BPF and CAP_PERFMON: add them to the container or the unit\n"
        ),
        "{message}"
    );
    let (code, message) =
        outcome(&as_nobody("", &["trace", "--exe", app.as_str()], &app), &app.folder);
    assert_eq!(code, Some(3), "{message}");
    assert!(
        message.ends_with(
            "Operation not permitted (os error 1); run as root or with CAP_BPF and CAP_PERFMON\n"
        ),
        "{message}"
    );
    // Listing and planning need no privileges.
    let out = as_nobody("", &["list", app.as_str()], &app);
    assert_eq!((out.status.code(), text(&out.stdout).lines().count()), (Some(0), 7));
    let out = as_nobody("", &["trace", "--dry-run", "--exe", app.as_str(), "e2e:hit"], &app);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("e2e:hit\n    at file offset 0x"), "{}", text(&out.stdout));
}

#[test]
fn works_with_the_documented_capabilities() {
    if !have(&[Need::Bpf, Need::Program("setpriv")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let out = as_nobody(
        "+bpf,+perfmon",
        &["trace", "--json", "e2e:hit", "--", app.as_str(), "-per", "5"],
        &app,
    );
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(usdt_e2e::events_and_summary(&text(&out.stdout)).1["delivered"], 5);
    let target = Process::start(command(&app.path).args(["-per", "3"]));
    let pid = target.pid().to_string();
    let (code, message) =
        outcome(&as_nobody("+bpf,+perfmon", &["trace", "-p", &pid], &app), &app.folder);
    assert_eq!((code, message.contains("belongs to another user")), (Some(3), true), "{message}");
    let out =
        as_nobody("+bpf,+perfmon,+sys_ptrace", &["trace", "-p", &pid, "--json", "e2e:hit"], &app);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(usdt_e2e::events_and_summary(&text(&out.stdout)).1["delivered"], 3);
}

#[test]
fn rejects_invalid_usage_and_prints_help() {
    for args in [
        &["trace"][..],
        &["list"],
        &["trace", "-p", "x"],
        &["trace", "-p", "1", "--", "true"],
        &["trace", "--duration", "3x", "-p", "1"],
        &["nonsense"],
    ] {
        let out = attach(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(text(&out.stderr).starts_with("error: "), "{args:?}: {}", text(&out.stderr));
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let (code, message) = outcome(&attach(&["trace", app.as_str()]), &app.folder);
    assert_eq!(code, Some(2));
    assert_eq!(
        message,
        "error: no target: pass -p PID|NAME, --exe PATH, --cgroup PATH, --all or -- CMD; for the file `DIR/hits-sealed`, pass --exe DIR/hits-sealed, or -- DIR/hits-sealed to start it\n"
    );
    let message = text(&attach(&["trace", "1234", "app:*"]).stderr);
    assert!(message.ends_with("-- CMD; for process 1234, pass -p 1234\n"), "{message}");
    for args in [&[][..], &["a.d", "b.d"], &["seal"]] {
        assert_eq!(usdt_gen(args).status.code(), Some(2), "{args:?}");
    }
    for (tool, words) in [("usdt-attach", ["list", "trace"]), ("usdt-gen", ["seal", "toolexec"])] {
        let help = usdt_e2e::stdout(command(tools().join(tool)).arg("--help"));
        assert!(words.iter().all(|w| help.contains(w)) && help.contains("Exit status"), "{help}");
        for (shell, known_by) in
            [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c")]
        {
            let script = usdt_e2e::stdout(command(tools().join(tool)).args(["completions", shell]));
            assert!(
                script.contains(known_by) && words.iter().all(|w| script.contains(w)),
                "{script}"
            );
        }
        let unknown = command(tools().join(tool)).args(["completions", "tcsh"]).output().unwrap();
        assert!(
            text(&unknown.stderr).contains("possible values: bash"),
            "{}",
            text(&unknown.stderr)
        );
    }
}
