//! Every way Go programs are built: modes, commands, caches, other wrappers in the same build.

use std::path::{Path, PathBuf};
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, listed, root, stdout, text, tools,
    wait_for,
};

const SEAL: &str = "-toolexec=usdt-gen toolexec";

fn go(args: &[&str]) -> std::process::Command {
    let mut go = command("go");
    go.args(args).current_dir(root().join("tests/go"));
    go
}

/// Every consumer takes every probe, and there are that many of them.
fn conforms(path: &Path, probes: usize, what: &str) {
    let out = usdt_e2e::usdt_gen(&["verify", "--json", path.to_str().unwrap()]);
    let rows = usdt_e2e::lines(&text(&out.stdout));
    assert_eq!(rows.len(), 5 * probes, "{what}: {}", text(&out.stderr));
    for row in rows {
        // Go before 1.24 gives no GNU build id by itself.
        let id = row["reason"].as_str().is_some_and(|r| r.contains("GNU build ID"));
        assert!(row["verdict"] == "accepted" || id, "{what}: {row}");
    }
}

fn fires(program: &Path, what: &str) {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(program);
    let out = attach(&["trace", "--json", "*:*", "--", app.as_str(), "-types"]);
    let (events, summary) = usdt_e2e::stream(&text(&out.stdout));
    assert_eq!((events.len(), &summary["hits"]), (8, &8.into()), "{what}: {}", text(&out.stderr));
}

#[test]
fn instrumented_and_uncompressed_builds() {
    let folder = tempfile::tempdir().unwrap();
    let mut modes: Vec<(&[&str], usize)> = vec![
        (&["-cover"], 7),
        (&["-ldflags=-compressdwarf=false"], 7),
        (&["-trimpath", "-buildvcs=false"], 7),
        // The address sanitizer keeps what is not called, too.
        (&["-asan"], 8),
    ];
    // The memory sanitizer is clang's, and its runtime library no part of what is set up.
    if msan() {
        modes.push((&["-msan"], 7));
    }
    for (flags, probes) in modes {
        let program = folder.path().join("program");
        let mut build = go(&["build", SEAL, "-o", program.to_str().unwrap()]);
        if flags == ["-msan"] {
            build.env("CC", "clang");
        }
        stdout(build.args(flags).arg("./hits"));
        conforms(&program, probes, &flags.join(" "));
        if flags == ["-cover"] {
            fires(&program, "-cover");
        }
    }
}

fn msan() -> bool {
    let resources =
        command("clang").arg("-print-resource-dir").output().map(|out| text(&out.stdout));
    let folder = resources.unwrap_or_default();
    Path::new(folder.trim()).join("lib/linux/libclang_rt.msan-x86_64.a").exists()
}

/// A plugin's blobs hold their addresses in relocations against symbols only. It is traced where it is loaded.
#[test]
fn plugins() {
    let folder = tempfile::tempdir().unwrap();
    let (plugin, host) = (folder.path().join("plugin.so"), folder.path().join("host"));
    stdout(go(&["build", SEAL, "-buildmode=plugin", "-o"]).arg(&plugin).arg("./shared"));
    conforms(&plugin, 1, "plugin");
    stdout(go(&["build", "-o"]).arg(&host).arg("./host"));
    if !have(&[Need::Bpf]) {
        return;
    }
    let target = Process::start(command(&host).arg(&plugin));
    let mapped = || {
        std::fs::read_to_string(format!("/proc/{}/maps", target.pid()))
            .is_ok_and(|m| m.contains("plugin.so"))
    };
    wait_for("the plugin", mapped);
    let pid = target.pid().to_string();
    let out = attach(&["trace", "--json", "--events", "3", "-p", &pid, "e2e:hit"]);
    let (events, _) = usdt_e2e::stream(&text(&out.stdout));
    assert_eq!(events.len(), 3, "{}", text(&out.stderr));
    assert_eq!(events[0]["args"]["text"], format!("tick {}", events[0]["args"]["n"]));
}

/// C programs load a shared library of Go's, and its probes fire.
#[test]
fn shared_libraries_are_traced() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (library, program) = (folder.path().join("libshared.so"), folder.path().join("main"));
    let source = usdt_e2e::root().join("tests/c/ticks.c");
    stdout(go(&["build", SEAL, "-buildmode=c-shared", "-o"]).arg(&library).arg("./shared"));
    conforms(&library, 1, "c-shared");
    let rpath = format!("-Wl,-rpath,{}", folder.path().display());
    stdout(command("cc").arg("-o").arg(&program).arg(&source).arg(&library).arg(rpath));
    let target = Process::start(&mut command(&program));
    let pid = target.pid().to_string();
    let mapped = || {
        std::fs::read_to_string(format!("/proc/{pid}/maps"))
            .is_ok_and(|m| m.contains("libshared.so"))
    };
    wait_for("the library", mapped);
    let out = attach(&["trace", "--json", "--events", "3", "-p", &pid, "e2e:hit"]);
    let (events, _) = usdt_e2e::stream(&text(&out.stdout));
    assert_eq!(events.len(), 3, "{}", text(&out.stderr));
    let numbers: Vec<i64> = events.iter().map(|e| e["args"]["n"].as_i64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

/// What fires probes on arm64, run by an emulator where this machine is another. Kernels of that kind are `cargo xtask
/// kernels`' part.
#[test]
fn sites_of_arm64_run() {
    if !have(&[Need::Program("qemu-aarch64")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("gate.test");
    let run = |mut command: std::process::Command| {
        let out = stdout(command.args(["-test.v", "-test.run", "NoAllocation|EverySite"]));
        for name in ["TestProbesDoNotAllocate", "TestEverySiteRuns"] {
            assert!(out.contains(&format!("--- PASS: {name}")), "{out}");
        }
    };
    stdout(&mut go(&["test", SEAL, "-c", "-o", test.to_str().unwrap(), "./gate"]));
    run(command(&test));
    stdout(
        go(&["test", SEAL, "-c", "-o", test.to_str().unwrap(), "./gate"]).env("GOARCH", "arm64"),
    );
    let mut emulated = command("qemu-aarch64");
    emulated.arg(&test);
    run(emulated);
}

/// `go test`, `go run` and `go install` take the flag as `go build` does, and GOFLAGS sets it for all.
#[test]
fn every_go_command() {
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("gate.test");
    stdout(&mut go(&["test", SEAL, "-c", "-o", test.to_str().unwrap(), "./gate"]));
    assert_eq!(listed(&test)[0]["source"], "note");
    stdout(&mut go(&["test", SEAL, "./gate"]));
    let flags = "'-toolexec=usdt-gen toolexec'";
    stdout(go(&["install", "./hits"]).env("GOFLAGS", flags).env("GOBIN", folder.path()));
    assert_eq!(listed(&folder.path().join("hits"))[0]["source"], "note");
    // Without a tracer it says so and fails: it ran.
    let run = go(&["run", SEAL, "./hits", "-timeout", "1ms"]).output().unwrap();
    assert!(text(&run.stderr).contains("no tracer attached"), "{}", text(&run.stderr));
}

/// A wrapper of somebody else's: counts what it runs.
fn wrapper(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("count.sh");
    let log = folder.join("log").display().to_string();
    std::fs::write(&path, format!("#!/bin/sh\necho \"$*\" >> {log}\nexec \"$@\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn other_wrappers_in_front_and_behind() {
    for in_front in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let other = wrapper(folder.path());
        let other = other.display();
        let chain = if in_front {
            format!("-toolexec={other} usdt-gen toolexec")
        } else {
            format!("-toolexec=usdt-gen toolexec {other}")
        };
        let program = folder.path().join("hits");
        stdout(&mut go(&["build", &chain, "-o", program.to_str().unwrap(), "./hits"]));
        assert_eq!(listed(&program)[0]["source"], "note", "{chain}");
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("/link -o "), "the other wrapper saw the linker: {log}");
    }
}

/// Switched on, off and on again, by this build of usdt-gen or another: no stale binary, and nothing but the program
/// is built anew.
#[test]
fn caches_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hits");
    let build = |flag: Option<&str>, path: Option<&Path>| {
        let mut go = go(&["build", "-v", "-x"]);
        go.args(flag).args(["-o", program.to_str().unwrap(), "./hits"]);
        if let Some(path) = path {
            let rest = std::env::var("PATH").unwrap();
            go.env("PATH", format!("{}:{rest}", path.display()));
        }
        let out = go.output().unwrap();
        let said = text(&out.stderr);
        assert!(out.status.success(), "{said}");
        let compiled = said.lines().filter(|l| l.contains("/compile -o ")).count();
        (compiled, said.contains("/link -o "), listed(&program)[0]["source"].clone())
    };
    // Whatever earlier tests compiled is compiled; what is there is linked where it is not what is asked for.
    build(None, None);
    build(Some(SEAL), None);
    for (flag, source) in
        [(None, "blob"), (Some(SEAL), "note"), (None, "blob"), (Some(SEAL), "note")]
    {
        assert_eq!(build(flag, None), (0, true, source.into()));
        assert_eq!(build(flag, None), (0, false, source.into()));
    }
    // Another build of the same version: its binary is its own.
    let other = folder.path().join("bin");
    std::fs::create_dir(&other).unwrap();
    stdout(command("cp").arg(tools().join("usdt-gen")).arg(&other));
    let mut bytes = std::fs::read(other.join("usdt-gen")).unwrap();
    bytes.extend_from_slice(folder.path().to_str().unwrap().as_bytes());
    std::fs::remove_file(other.join("usdt-gen")).unwrap();
    std::fs::write(other.join("usdt-gen"), bytes).unwrap();
    stdout(command("chmod").arg("+x").arg(other.join("usdt-gen")));
    assert_eq!(build(Some(SEAL), Some(&other)), (0, true, "note".into()));
    assert_eq!(build(Some(SEAL), Some(&other)), (0, false, "note".into()));
    assert_eq!(build(Some(SEAL), None), (0, true, "note".into()));
}

/// A binary of a hundred mebibytes and more is sealed like any other.
#[test]
fn large_binaries() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| usdt_e2e::write(folder.path(), name, content);
    write("go.mod", b"module example.com/large\n\ngo 1.21\n");
    write("probes/probes.d", b"provider large { probe tick(int n); };\n");
    write("data", &vec![b'x'; 100 << 20]);
    write(
        "main.go",
        b"package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/large/probes\"\n)\n\n//go:embed data\nvar data string\n\nfunc main() { probes.Tick(int32(len(data))) }\n",
    );
    stdout(command("usdt-gen").arg("probes/probes.d").current_dir(folder.path()));
    stdout(command("go").args(["build", SEAL, "-o", "large", "."]).current_dir(folder.path()));
    let program = folder.path().join("large");
    assert!(std::fs::metadata(&program).unwrap().len() > 100 << 20);
    conforms(&program, 1, "large");
    stdout(&mut command(&program));
}

/// Three hundred probes: all are built, one is used, and nothing of the others is in the program.
#[test]
fn unused_probes_leave_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let build = |name: &str, probes: usize| {
        let module = folder.path().join(name);
        let write = |file: &str, content: &str| usdt_e2e::write(&module, file, content);
        let list: String = (0..probes)
            .map(|n| format!("\tprobe zanzibar{n}(int a, string b, char *c);\n"))
            .collect();
        write("go.mod", "module example.com/many\n\ngo 1.21\n");
        write("probes/probes.d", &format!("provider many {{\n\tprobe used(int n);\n{list}}};\n"));
        write(
            "main.go",
            "package main\n\nimport \"example.com/many/probes\"\n\nfunc main() { probes.Used(1) }\n",
        );
        stdout(command("usdt-gen").arg("probes/probes.d").current_dir(&module));
        let flags = ["build", SEAL, "-trimpath", "-ldflags=-s -w -buildid=", "-o", "program", "."];
        stdout(command("go").args(flags).current_dir(&module));
        module.join("program")
    };
    let (few, many) = (build("few", 0), build("many", 300));
    assert_eq!(listed(&many).len(), 1);
    let (few, many) = (std::fs::read(few).unwrap(), std::fs::read(many).unwrap());
    assert!(!many.windows(8).any(|w| w == b"zanzibar"), "not even a name");
    assert_eq!(few.len(), many.len());
}

/// What the fixtures are built with: sealing is the wrapper's doing, not theirs.
#[test]
fn unsealed_fixtures_stay_unsealed() {
    assert_eq!(listed(&Fixture::get("hits", Mode::Plain))[0]["source"], "blob");
}
