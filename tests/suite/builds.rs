//! Every way Go programs are built: modes, go subcommands, build caches, and other wrappers in the
//! same build.

use crate::discovery::is_mapped;
use std::path::{Path, PathBuf};
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, list_probes, root, stdout, text,
    tools, wait_for,
};

const TOOLEXEC: &str = "-toolexec=usdt-gen toolexec";

fn go(args: &[&str]) -> std::process::Command {
    let mut go = command("go");
    go.args(args).current_dir(root().join("tests/go"));
    go
}

/// Fails unless the binary has `probes` probes and every consumer accepts all of them.
pub(crate) fn assert_accepted(path: &Path, probes: usize, what: &str) {
    let out = usdt_e2e::usdt_gen(&["verify", "--json", path.to_str().unwrap()]);
    let rows = usdt_e2e::json_lines(&text(&out.stdout));
    assert_eq!(rows.len(), 5 * probes, "{what}: {}", text(&out.stderr));
    for row in rows {
        // Go before 1.24 writes no GNU build id, which perf requires.
        let lacks_build_id = row["reason"].as_str().is_some_and(|r| r.contains("GNU build ID"));
        assert!(row["verdict"] == "accepted" || lacks_build_id, "{what}: {row}");
    }
}

/// Traces a program and fails unless all of its events arrive.
fn assert_fires(program: &Path, what: &str) {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(program);
    let out = attach(&["trace", "--json", "*:*", "--", app.as_str(), "-types"]);
    let (events, summary) = usdt_e2e::events_and_summary(&text(&out.stdout));
    assert_eq!((events.len(), &summary["hits"]), (8, &8.into()), "{what}: {}", text(&out.stderr));
}

#[test]
fn seals_instrumented_and_uncompressed_builds() {
    let folder = tempfile::tempdir().unwrap();
    let mut modes: Vec<(&[&str], usize)> = vec![
        (&["-cover"], 7),
        (&["-ldflags=-compressdwarf=false"], 7),
        (&["-trimpath", "-buildvcs=false"], 7),
        // The address sanitizer keeps functions that are never called.
        (&["-asan"], 8),
    ];
    // The memory sanitizer needs clang's runtime library, which `cargo xtask setup` does not
    // install.
    if has_memory_sanitizer() {
        modes.push((&["-msan"], 7));
    }
    for (flags, probes) in modes {
        let program = folder.path().join("program");
        let mut build = go(&["build", TOOLEXEC, "-o", program.to_str().unwrap()]);
        if flags == ["-msan"] {
            build.env("CC", "clang");
        }
        stdout(build.args(flags).arg("./hits"));
        assert_accepted(&program, probes, &flags.join(" "));
        if flags == ["-cover"] {
            assert_fires(&program, "-cover");
        }
    }
}

/// Returns true if clang has the runtime library of the memory sanitizer.
fn has_memory_sanitizer() -> bool {
    let resources =
        command("clang").arg("-print-resource-dir").output().map(|out| text(&out.stdout));
    let folder = resources.unwrap_or_default();
    Path::new(folder.trim()).join("lib/linux/libclang_rt.msan-x86_64.a").exists()
}

/// The blobs of a plugin hold their addresses only in relocations against symbols. The plugin is
/// traced in the program that loads it.
#[test]
fn traces_plugins_where_they_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let (plugin, host) = (folder.path().join("plugin.so"), folder.path().join("host"));
    stdout(go(&["build", TOOLEXEC, "-buildmode=plugin", "-o"]).arg(&plugin).arg("./shared"));
    assert_accepted(&plugin, 1, "plugin");
    stdout(go(&["build", "-o"]).arg(&host).arg("./host"));
    if !have(&[Need::Bpf]) {
        return;
    }
    let target = Process::start(command(&host).arg(&plugin));
    wait_for("the plugin to be mapped", || is_mapped(target.pid(), "plugin.so"));
    let pid = target.pid().to_string();
    let out = attach(&["trace", "--json", "--events", "3", "-p", &pid, "e2e:hit"]);
    let (events, _) = usdt_e2e::events_and_summary(&text(&out.stdout));
    assert_eq!(events.len(), 3, "{}", text(&out.stderr));
    assert_eq!(events[0]["args"]["text"], format!("tick {}", events[0]["args"]["n"]));
}

/// Probes of a Go shared library fire in the C program that loads it.
#[test]
fn traces_go_shared_libraries_loaded_by_c() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (library, program) = (folder.path().join("libshared.so"), folder.path().join("main"));
    let source = usdt_e2e::root().join("tests/c/ticks.c");
    stdout(go(&["build", TOOLEXEC, "-buildmode=c-shared", "-o"]).arg(&library).arg("./shared"));
    assert_accepted(&library, 1, "c-shared");
    let rpath = format!("-Wl,-rpath,{}", folder.path().display());
    stdout(command("cc").arg("-o").arg(&program).arg(&source).arg(&library).arg(rpath));
    let target = Process::start(&mut command(&program));
    let pid = target.pid().to_string();
    wait_for("the library to be mapped", || is_mapped(target.pid(), "libshared.so"));
    let out = attach(&["trace", "--json", "--events", "3", "-p", &pid, "e2e:hit"]);
    let (events, _) = usdt_e2e::events_and_summary(&text(&out.stdout));
    assert_eq!(events.len(), 3, "{}", text(&out.stderr));
    let numbers: Vec<i64> = events.iter().map(|e| e["args"]["n"].as_i64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

/// Runs the assembly that fires probes on arm64, in an emulator if necessary. Tracing on arm64
/// kernels is covered by `cargo xtask kernels`.
#[test]
fn arm64_probe_sites_run() {
    if !have(&[Need::Program("qemu-aarch64")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("gate.test");
    let run = |mut command: std::process::Command| {
        let out = stdout(command.args(["-test.v", "-test.run", "ProbesDoNotAllocate|EverySite"]));
        for name in ["TestProbesDoNotAllocate", "TestEverySiteRuns"] {
            assert!(out.contains(&format!("--- PASS: {name}")), "{out}");
        }
    };
    stdout(&mut go(&["test", TOOLEXEC, "-c", "-o", test.to_str().unwrap(), "./gate"]));
    run(command(&test));
    stdout(
        go(&["test", TOOLEXEC, "-c", "-o", test.to_str().unwrap(), "./gate"])
            .env("GOARCH", "arm64"),
    );
    let mut emulated = command("qemu-aarch64");
    emulated.arg(&test);
    run(emulated);
}

/// `go test`, `go run` and `go install` accept the flag like `go build`, and GOFLAGS sets it for
/// all of them.
#[test]
fn every_go_command_accepts_the_wrapper() {
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("gate.test");
    stdout(&mut go(&["test", TOOLEXEC, "-c", "-o", test.to_str().unwrap(), "./gate"]));
    assert_eq!(list_probes(&test)[0]["source"], "note");
    stdout(&mut go(&["test", TOOLEXEC, "./gate"]));
    let flags = "'-toolexec=usdt-gen toolexec'";
    stdout(go(&["install", "./hits"]).env("GOFLAGS", flags).env("GOBIN", folder.path()));
    assert_eq!(list_probes(&folder.path().join("hits"))[0]["source"], "note");
    // Without a tracer the program times out and fails, which shows that it ran.
    let run = go(&["run", TOOLEXEC, "./hits", "-timeout", "1ms"]).output().unwrap();
    assert!(text(&run.stderr).contains("no tracer attached"), "{}", text(&run.stderr));
}

/// Writes a third-party wrapper, which logs the commands that it runs.
pub(crate) fn logging_wrapper(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("count.sh");
    let log = folder.join("log").display().to_string();
    std::fs::write(&path, format!("#!/bin/sh\necho \"$*\" >> {log}\nexec \"$@\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn chains_with_other_toolexec_wrappers() {
    for is_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let other = logging_wrapper(folder.path());
        let other = other.display();
        let chain = if is_first {
            format!("-toolexec={other} usdt-gen toolexec")
        } else {
            format!("-toolexec=usdt-gen toolexec {other}")
        };
        let program = folder.path().join("hits");
        stdout(&mut go(&["build", &chain, "-o", program.to_str().unwrap(), "./hits"]));
        assert_eq!(list_probes(&program)[0]["source"], "note", "{chain}");
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("/link -o "), "the other wrapper ran the linker: {log}");
    }
}

/// Switching the wrapper off and on, or to another build of usdt-gen, relinks the program but
/// recompiles nothing, and never leaves a stale binary.
#[test]
fn build_cache_separates_sealed_and_unsealed_binaries() {
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
        let log = text(&out.stderr);
        assert!(out.status.success(), "{log}");
        let compiled = log.lines().filter(|l| l.contains("/compile -o ")).count();
        (compiled, log.contains("/link -o "), list_probes(&program)[0]["source"].clone())
    };
    // The first builds fill the compile cache.
    build(None, None);
    build(Some(TOOLEXEC), None);
    for (flag, source) in
        [(None, "blob"), (Some(TOOLEXEC), "note"), (None, "blob"), (Some(TOOLEXEC), "note")]
    {
        assert_eq!(build(flag, None), (0, true, source.into()));
        assert_eq!(build(flag, None), (0, false, source.into()));
    }
    // Another build of the same version of usdt-gen has cache entries of its own.
    let other = folder.path().join("bin");
    std::fs::create_dir(&other).unwrap();
    stdout(command("cp").arg(tools().join("usdt-gen")).arg(&other));
    let mut bytes = std::fs::read(other.join("usdt-gen")).unwrap();
    bytes.extend_from_slice(folder.path().to_str().unwrap().as_bytes());
    std::fs::remove_file(other.join("usdt-gen")).unwrap();
    std::fs::write(other.join("usdt-gen"), bytes).unwrap();
    stdout(command("chmod").arg("+x").arg(other.join("usdt-gen")));
    assert_eq!(build(Some(TOOLEXEC), Some(&other)), (0, true, "note".into()));
    assert_eq!(build(Some(TOOLEXEC), Some(&other)), (0, false, "note".into()));
    assert_eq!(build(Some(TOOLEXEC), None), (0, true, "note".into()));
}

/// A binary of more than 100 MiB is sealed like any other.
#[test]
fn seals_binaries_larger_than_100_mib() {
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
    stdout(command("go").args(["build", TOOLEXEC, "-o", "large", "."]).current_dir(folder.path()));
    let program = folder.path().join("large");
    assert!(std::fs::metadata(&program).unwrap().len() > 100 << 20);
    assert_accepted(&program, 1, "large");
    stdout(&mut command(&program));
}

/// Of three hundred generated probes one is used; the linker removes everything else.
#[test]
fn unused_probes_add_no_bytes() {
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
        let flags =
            ["build", TOOLEXEC, "-trimpath", "-ldflags=-s -w -buildid=", "-o", "program", "."];
        stdout(command("go").args(flags).current_dir(&module));
        module.join("program")
    };
    let (few, many) = (build("few", 0), build("many", 300));
    assert_eq!(list_probes(&many).len(), 1);
    let (few, many) = (std::fs::read(few).unwrap(), std::fs::read(many).unwrap());
    assert!(!many.windows(8).any(|w| w == b"zanzibar"), "names of unused probes are removed");
    assert_eq!(few.len(), many.len());
}

/// Only the toolexec wrapper seals; the fixtures themselves do not.
#[test]
fn plain_fixtures_are_unsealed() {
    assert_eq!(list_probes(&Fixture::get("hits", Mode::Plain))[0]["source"], "blob");
}
