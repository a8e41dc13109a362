//! The generated package, as a user builds it who follows the README.

use std::path::Path;
use usdt_e2e::{Need, attach, command, events_and_summary, have, stdout, text, tools};

/// Creates a module with a definition, its `go:generate` line and a program.
fn module() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| usdt_e2e::write(folder.path(), name, content);
    write("go.mod", "module example.com/app\n\ngo 1.21\n");
    write("probes/gen.go", "package probes\n\n//go:generate usdt-gen probes.d\n");
    write(
        "probes/probes.d",
        "provider app {\n\t/** A greeting. */\n\tprobe greet(string name, int times);\n\tprobe unused();\n};\n",
    );
    write(
        "cmd/main.go",
        "package main\n\nimport \"example.com/app/probes\"\n\nfunc main() {\n\tprobes.Greet(\"gopher\", 3)\n}\n",
    );
    folder
}

fn go(folder: &Path, args: &[&str]) -> String {
    stdout(command("go").args(args).current_dir(folder))
}

#[test]
fn generated_package_fires_events() {
    let module = module();
    go(module.path(), &["generate", "./..."]);
    go(module.path(), &["vet", "./..."]);
    assert_eq!(stdout(command("gofmt").args(["-l", "."]).current_dir(module.path())), "");
    go(module.path(), &["build", "-toolexec=usdt-gen toolexec", "-o", "app", "./cmd"]);
    let app = module.path().join("app");
    let out = attach(&["list", app.to_str().unwrap()]);
    assert_eq!(
        text(&out.stdout),
        "app:greet(string name, int times)\n",
        "the unused probe is not in the binary"
    );
    let symbols = go(module.path(), &["tool", "nm", "app"]);
    for kind in ["Stub", "Site", "Probe", "Schema"] {
        assert!(symbols.contains(&format!("probes.usdt{kind}Greet")), "{symbols}");
        assert!(
            !symbols.contains(&format!("usdt{kind}Unused")),
            "symbols of an unused probe are removed\n{symbols}"
        );
    }
    if have(&[Need::Bpf]) {
        let out = attach(&["trace", "--json", "--", app.to_str().unwrap()]);
        let (events, _) = events_and_summary(&text(&out.stdout));
        assert_eq!(events[0]["args"], serde_json::json!({"name": "gopher", "times": 3}));
    }
}

/// Two hundred probes of different signatures fire once each. Every event arrives under its own
/// name with its own value.
#[test]
fn traces_two_hundred_probes() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let module = module();
    let types = [
        "int v",
        "uint8_t v, string s",
        "long v, double d, char *c",
        "int16_t v, bytes b, bool ok",
    ];
    let other_args = ["", ", \"s\"", ", 0.5, \"c\"", ", []byte{1}, true"];
    let (mut definition, mut calls) = (String::from("provider many {\n"), String::new());
    for i in 0..200 {
        definition.push_str(&format!("\tprobe p{i}x({});\n", types[i % 4]));
        calls.push_str(&format!("\tprobes.P{i}x({}{})\n", i % 100, other_args[i % 4]));
    }
    definition.push_str("};\n");
    std::fs::write(module.path().join("probes/probes.d"), definition).unwrap();
    let main =
        format!("package main\n\nimport \"example.com/app/probes\"\n\nfunc main() {{\n{calls}}}\n");
    std::fs::write(module.path().join("cmd/main.go"), main).unwrap();
    go(module.path(), &["generate", "./..."]);
    go(module.path(), &["build", "-toolexec=usdt-gen toolexec", "-o", "app", "./cmd"]);
    let app = module.path().join("app");
    for backend in ["embedded", "bcc"] {
        if backend == "bcc" && !have(&[Need::Bcc]) {
            continue;
        }
        let out = attach(&["trace", "--json", "--backend", backend, "--", app.to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let (events, summary) = events_and_summary(&text(&out.stdout));
        assert_eq!((events.len(), &summary["hits"]), (200, &200.into()));
        for (i, event) in events.iter().enumerate() {
            assert_eq!(
                (&event["probe"], &event["args"]["v"]),
                (&format!("p{i}x").into(), &(i % 100).into())
            );
        }
    }
}

#[test]
fn generation_is_deterministic() {
    let (first, second) = (module(), module());
    for module in [&first, &second] {
        go(module.path(), &["generate", "./..."]);
    }
    let names =
        ["probes.go", "probes_amd64.s", "probes_arm64.s", "probes_schema.s", "probes_other.go"];
    for name in names {
        let read =
            |m: &tempfile::TempDir| std::fs::read(m.path().join("probes").join(name)).unwrap();
        assert!(read(&first) == read(&second), "{name}");
    }
    // Unchanged files are not rewritten, so nothing that depends on them is rebuilt.
    let stamp =
        || std::fs::metadata(first.path().join("probes/probes.go")).unwrap().modified().unwrap();
    let before = stamp();
    go(first.path(), &["generate", "./..."]);
    assert_eq!(stamp(), before);
}

/// A module may declare any language version, or none: generated files raise it for themselves.
#[test]
fn compiles_in_modules_with_old_language_versions() {
    let module = module();
    let definition = "struct conn { int fd; unsigned flags : 3; };\nprovider app {\n\
                      \t/** @go took time.Duration */\n\
                      \tprobe greet(string name, int64_t took, bytes b, error e, const char *c, struct conn *conn, double d);\n};\n";
    std::fs::write(module.path().join("probes/probes.d"), definition).unwrap();
    let main = "package main\n\nimport (\n\t\"time\"\n\n\t\"example.com/app/probes\"\n)\n\nfunc main() {\n\
                \tprobes.Greet(\"gopher\", time.Second, nil, nil, \"c\", &probes.Conn{}, 0.5)\n}\n";
    std::fs::write(module.path().join("cmd/main.go"), main).unwrap();
    go(module.path(), &["generate", "./..."]);
    for version in ["", "go 1.16\n", "go 1.21\n"] {
        std::fs::write(
            module.path().join("go.mod"),
            format!("module example.com/app\n\n{version}"),
        )
        .unwrap();
        for (os, arch) in
            [("linux", "amd64"), ("linux", "arm64"), ("darwin", "arm64"), ("linux", "386")]
        {
            stdout(
                command("go")
                    .args(["vet", "./..."])
                    .envs([("GOOS", os), ("GOARCH", arch), ("GOFLAGS", "-mod=mod")])
                    .current_dir(module.path()),
            );
        }
        go(module.path(), &["build", "-toolexec=usdt-gen toolexec", "-o", "app", "./cmd"]);
        assert_eq!(
            usdt_e2e::list_probes(&module.path().join("app"))[0]["source"],
            "note",
            "{version}"
        );
    }
}

#[test]
fn generates_into_another_folder_and_package() {
    let module = module();
    let definition = module.path().join("probes/probes.d");
    let out = command(tools().join("usdt-gen"))
        .arg(&definition)
        .args(["-o", "gen/trace-points", "--package", "tracepoints"])
        .current_dir(module.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    let source = std::fs::read_to_string(module.path().join("gen/trace-points/probes.go")).unwrap();
    assert!(source.contains("\npackage tracepoints\n"));
    go(module.path(), &["vet", "./gen/..."]);
}

/// The caches of the go command separate sealed and unsealed binaries, in whatever order they are
/// built.
#[test]
fn rebuilds_when_the_wrapper_is_switched() {
    let module = module();
    go(module.path(), &["generate", "./..."]);
    let app = module.path().join("app");
    for (flags, source) in [
        ("'-toolexec=usdt-gen toolexec'", "note"),
        ("", "blob"),
        ("'-toolexec=usdt-gen toolexec'", "note"),
    ] {
        let build = ["build", "-o", "app", "./cmd"];
        stdout(command("go").args(build).env("GOFLAGS", flags).current_dir(module.path()));
        assert_eq!(usdt_e2e::list_probes(&app)[0]["source"], source);
    }
}

#[test]
fn usdt_off_build_tag_removes_all_probes() {
    let module = module();
    go(module.path(), &["generate", "./..."]);
    go(
        module.path(),
        &["build", "-tags", "usdt_off", "-toolexec=usdt-gen toolexec", "-o", "app", "./cmd"],
    );
    let app = module.path().join("app");
    assert_eq!(usdt_e2e::list_probes(&app), [serde_json::Value::Null; 0]);
    stdout(&mut command(&app));
    let data = std::fs::read(&app).unwrap();
    let name = b"greet";
    assert!(!data.windows(name.len()).any(|w| w == name), "the name of the probe is removed");
}

/// Reads the compiler's diagnostics: every gate is inlined, and only oversized C strings are
/// allocated on the heap.
#[test]
fn gates_are_inlined_without_heap_escapes() {
    let folder = usdt_e2e::root().join("tests/go");
    let out = command("go")
        .args(["build", "-gcflags=-m", "./probes"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let diagnostics = text(&out.stderr);
    let source = std::fs::read_to_string(folder.join("probes/probes.go")).unwrap();
    let exported: Vec<&str> = source
        .lines()
        .filter_map(|l| l.strip_prefix("func "))
        .map(|l| l.split('(').next().unwrap())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect();
    assert_eq!(
        exported.len(),
        23,
        "8 probes, their Enabled functions, and Func for all with arguments"
    );
    for name in exported {
        assert!(
            diagnostics.lines().any(|l| l.ends_with(&format!("can inline {name}"))),
            "{name} is not inlined\n{diagnostics}"
        );
    }
    let escapes: Vec<&str> = diagnostics
        .lines()
        .filter(|l| l.contains("escapes to heap") || l.contains("moved to heap"))
        .collect();
    assert!(
        !escapes.is_empty() && escapes.iter().all(|l| l.contains("make([]byte, len(s) + 1)")),
        "{escapes:?}"
    );
    assert!(!diagnostics.contains("leaking param: name"), "{diagnostics}");
}

/// The closure form is inlined together with its closure. Disabled, the closure is not created;
/// enabled, nothing is allocated on the heap.
#[test]
fn closure_form_is_inlined_without_allocation() {
    let folder = usdt_e2e::root().join("tests/go");
    let out = command("go")
        .args(["test", "-gcflags=-m", "-run=^$", "./gate"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let diagnostics = text(&out.stderr);
    for inlined in ["inlining call to probes.HitFunc", "inlining call to fireLazily.func1"] {
        assert!(diagnostics.contains(inlined), "{inlined}: {diagnostics}");
    }
    let binary = tempfile::tempdir().unwrap();
    let test = binary.path().join("gate.test");
    go(&folder, &["test", "-c", "-o", test.to_str().unwrap(), "./gate"]);
    let code = stdout(command("go").args([
        "tool",
        "objdump",
        "-s",
        "gate.fireLazily$",
        test.to_str().unwrap(),
    ]));
    let before: Vec<&str> = code
        .lines()
        .take_while(|l| !l.contains("usdtProbeHit+18(SB)"))
        .filter_map(|l| l.split_whitespace().nth(3))
        .collect();
    // Only the stack check and the frame setup precede the gate; no closure is created.
    assert!(!before.is_empty() && before.iter().all(|m| !m.starts_with("LEA")), "{code}");
}

/// A disabled probe is a load, a test and a branch.
#[test]
fn disabled_probe_is_three_instructions() {
    let app = usdt_e2e::Fixture::get("hits", usdt_e2e::Mode::Sealed);
    let code = stdout(command("go").args([
        "tool",
        "objdump",
        "-s",
        "^main.main.func",
        app.to_str().unwrap(),
    ]));
    let mnemonics: Vec<&str> = code
        .lines()
        .skip_while(|l| !l.contains("usdtProbeHit+18(SB)"))
        .filter_map(|l| l.split_whitespace().nth(3))
        // Skip marks of inlined calls and instructions that the compiler schedules in between.
        .filter(|m| ["MOVZX", "TESTL", "JE", "JNE"].contains(m))
        .take(3)
        .collect();
    assert!(
        matches!(mnemonics.as_slice(), ["MOVZX", "TESTL", "JE" | "JNE"]),
        "{mnemonics:?}\n{code}"
    );
}
