//! Commands of `usdt-gen` on definitions and binaries: `--check`, `schema`, `diff`, `doc`,
//! `bpftrace`, `init`, `fmt`.

use serde_json::Value;
use std::time::Duration;
use usdt_e2e::{Fixture, Mode, Need, Process, command, copy, have, stdout, text, usdt_gen};

fn definition() -> String {
    usdt_e2e::root().join("tests/go/probes/probes.d").to_str().unwrap().to_owned()
}

fn json(args: &[&str]) -> Value {
    let out = usdt_gen(args);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn check_reports_stale_generated_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probes.d");
    std::fs::write(&file, "provider app { probe tick(int n); };\n").unwrap();
    let file_name = file.to_str().unwrap();
    let check = || usdt_gen(&["--check", file_name, "--package", "app"]);
    let out = check();
    assert_eq!(out.status.code(), Some(1), "nothing is generated yet");
    assert!(text(&out.stderr).starts_with("out of date: "), "{}", text(&out.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is written");
    assert!(usdt_gen(&[file_name, "--package", "app"]).status.success());
    let out = check();
    assert_eq!(
        (out.status.code(), text(&out.stdout), text(&out.stderr)),
        (Some(0), String::new(), String::new())
    );
    // Without `--package`, the package name in the generated files counts: CI does not run under
    // `go generate`.
    assert_eq!(usdt_gen(&["--check", file_name]).status.code(), Some(0));
    std::fs::write(&file, "provider app { probe tick(long n); };\n").unwrap();
    let out = check();
    assert_eq!(out.status.code(), Some(1));
    let diff = text(&out.stdout);
    for line in ["-func Tick(n int32) {", "+func Tick(n int64) {"] {
        assert!(diff.lines().any(|l| l == line), "{line} is not in\n{diff}");
    }
    // The generated files may have another name than the definition.
    let dashed = folder.path().join("my-probes.d");
    std::fs::copy(&file, &dashed).unwrap();
    let dashed = dashed.to_str().unwrap();
    assert!(usdt_gen(&[dashed, "--package", "other"]).status.success());
    assert_eq!(usdt_gen(&["--check", dashed]).status.code(), Some(0));
    let missing = usdt_gen(&["--check", "/nowhere/probes.d"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn definition_and_binary_have_the_same_schema() {
    let declared = json(&["schema", &definition()]);
    assert_eq!(declared["version"], 1);
    for mode in [Mode::Sealed, Mode::Plain, Mode::PlainPie] {
        let app = Fixture::get("hits", mode);
        let carried = json(&["schema", app.to_str().unwrap()]);
        for provider in carried["providers"].as_array().unwrap() {
            let find = |list: &Value, name: &Value| {
                list.as_array().unwrap().iter().find(|p| p["name"] == *name).unwrap().clone()
            };
            let source = find(&declared["providers"], &provider["name"]);
            for probe in provider["probes"].as_array().unwrap() {
                assert_eq!(*probe, find(&source["probes"], &probe["name"]), "{mode:?}");
            }
        }
        let out = usdt_gen(&["diff", &definition(), app.to_str().unwrap()]);
        assert_eq!(
            (out.status.code(), text(&out.stdout)),
            (Some(1), "breaking    e2e:unused: probe removed\n".to_owned()),
            "{mode:?}: the linker left it out"
        );
    }
}

#[test]
fn diff_reports_breaking_and_compatible_changes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| usdt_e2e::write(folder.path(), name, content);
    let old = write("old.d", "provider app { probe a(int x); probe b(string s); };");
    let new = write("new.d", "provider app { probe a(long x); probe b(string s, int n); };");
    let out = usdt_gen(&["diff", &old, &new]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        text(&out.stdout),
        "breaking    app:a: arg0 was `int x`, is now `long x`\n\
         compatible  app:b: arg2 `int n` added; the goroutine ID moves after it\n"
    );
    let out = usdt_gen(&["diff", "--json", &old, &new]);
    let lines = usdt_e2e::json_lines(&text(&out.stdout));
    assert_eq!(
        lines[0],
        serde_json::json!({"provider":"app","probe":"a","breaking":true,"change":"arg0 was `int x`, is now `long x`"})
    );
    let out = usdt_gen(&["diff", &old, &old]);
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), String::new()));
    let bad = write("bad.d", "provider app { probe a(nosuch x); };");
    let out = usdt_gen(&["diff", &old, &bad]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("unknown type `nosuch`"));
    let out = usdt_gen(&["schema", "/bin/true"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("does not describe any probes"));
}

#[test]
fn doc_lists_every_argument() {
    let out = stdout(command("usdt-gen").args(["doc", &definition()]));
    for line in
        ["# Provider `e2e`", "## more__types", "| data | `bytes` | arg5 pointer, arg6 length |"]
    {
        assert!(out.lines().any(|l| l == line), "{line} is not in\n{out}");
    }
}

/// The kind of a file is detected by its content, not by its name.
#[test]
fn bpftrace_script_of_a_definition_takes_a_binary() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probes.txt");
    std::fs::copy(definition(), &file).unwrap();
    let script = stdout(command("usdt-gen").arg("bpftrace").arg(&file));
    assert!(script.contains("usdt:$1:e2e:hit\n"), "{script}");
}

#[test]
fn bpftrace_runs_the_script_of_a_binary() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let script = app.folder.path().join("app.bt");
    std::fs::write(&script, stdout(command("usdt-gen").args(["bpftrace", app.as_str()]))).unwrap();
    let target = Process::start(command(&app.path).args(["-types", "-all", "-linger", "500ms"]));
    let tracer = Process::start(command("bpftrace").arg(&script));
    target.finish();
    std::thread::sleep(Duration::from_millis(500));
    let (_, out, errors) = tracer.interrupt();
    for line in [
        "types c=-1 i8=-128 i16=-32768 i32=-2147483648 i64=-9223372036854775808 u8=255",
        "more__types u64=18446744073709551615 f=0x3fc00000 d=0xc002000000000000 ok=1 cstring=C \"text\"",
        "twelve a=1 b=-2 c=3 d=-4 e=5 f=-6",
        "nothing",
        "hit n=7",
    ] {
        assert!(out.lines().any(|l| l == line), "{line} is not in\n{out}\n{errors}");
    }
}

/// Every test that the security page names exists.
#[test]
fn security_page_names_existing_tests() {
    let page = std::fs::read_to_string(usdt_e2e::root().join("docs/security.md")).unwrap();
    let named: Vec<(&str, &str)> = page
        .split('`')
        .filter_map(|code| code.split_once(": "))
        .filter(|(_, test)| test.contains("::"))
        .collect();
    assert!(named.len() > 25, "{named:?}");
    for (crate_name, test) in named {
        let folder =
            if crate_name == "suite" { "tests/suite".into() } else { format!("{crate_name}/src") };
        let (module, function) = test.rsplit_once("::").unwrap();
        let module = module.trim_end_matches("::tests").replace("::", "/");
        let folder = usdt_e2e::root().join(folder);
        let places = ["", "/mod", "/tests"].map(|end| folder.join(format!("{module}{end}.rs")));
        let has = |text: String| text.contains(&format!("fn {function}("));
        assert!(
            places.iter().any(|p| std::fs::read_to_string(p).is_ok_and(has)),
            "{crate_name}: {test}"
        );
    }
}

#[test]
fn init_creates_a_definition_and_never_overwrites_one() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("my-shop");
    std::fs::create_dir(&module).unwrap();
    let init = |args: &[&str]| {
        let mut program = command("usdt-gen");
        let out = program.arg("init").args(args).current_dir(&module).output().unwrap();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, _, errors) = init(&[]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("no go.mod in this directory or its parents"), "{errors}");
    assert_eq!(std::fs::read_dir(&module).unwrap().count(), 0, "nothing was written");
    std::fs::write(
        module.join("go.mod"),
        "module example.com/my-shop/v2 // a comment\n\ngo 1.21\n",
    )
    .unwrap();
    let (code, _, errors) = init(&["--provider", "my-shop"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("try `my_shop`"), "{errors}");
    let (code, out, errors) = init(&["internal/probes"]);
    assert_eq!(code, Some(0), "{errors}");
    for expected in [
        "import \"example.com/my-shop/v2/internal/probes\"",
        "probes.RequestStart(id, ",
        "--exe ./app my_shop:request-start",
    ] {
        assert!(out.contains(expected), "`{expected}` is not in\n{out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    let definition = module.join("internal/probes/probes.d");
    let path = definition.to_str().unwrap();
    assert_eq!(
        usdt_gen(&["fmt", "--check", path]).status.code(),
        Some(0),
        "the new definition is formatted"
    );
    assert_eq!(usdt_gen(&[path, "--check"]).status.code(), Some(0), "the package is up to date");
    // The printed calls compile with the types that Go programs use.
    let calls: String = out
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("start :=") || line.starts_with("probes."))
        .map(|line| format!("\t{line}\n"))
        .collect();
    assert_eq!(calls.lines().count(), 3, "{out}");
    let handler = format!(
        "package shop\n\nimport (\n\t\"net/http\"\n\t\"time\"\n\n\t\"example.com/my-shop/v2/internal/probes\"\n)\n\n\
         // Serve is a handler.\nfunc Serve(id uint64, r *http.Request, status int) {{\n{calls}}}\n"
    );
    std::fs::write(module.join("serve.go"), handler).unwrap();
    stdout(command("go").args(["vet", "./..."]).current_dir(&module));
    let before = std::fs::read_to_string(&definition).unwrap();
    let (code, _, errors) = init(&["internal/probes"]);
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("internal/probes/probes.d already exists; nothing was written"),
        "{errors}"
    );
    assert_eq!(std::fs::read_to_string(&definition).unwrap(), before);
}

#[test]
fn fmt_formats_definitions() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| usdt_e2e::write(folder.path(), name, text);
    let unformatted = write("odd.d", "provider app{probe a( int x );};");
    let formatted = write("even.d", "provider app {\n\tprobe a(int x);\n};\n");
    let invalid = write("bad.d", "provider app { probe a(int x); /* never\n");
    let out = usdt_gen(&["fmt", "--check", &unformatted, &formatted]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("+\tprobe a(int x);\n"), "{}", text(&out.stdout));
    assert!(
        text(&out.stderr).contains("odd.d; run usdt-gen fmt")
            && !text(&out.stderr).contains("even.d")
    );
    let out = usdt_gen(&["fmt", &invalid, &unformatted]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("bad.d:1:32") && text(&out.stderr).contains("never closed"),
        "{}",
        text(&out.stderr)
    );
    assert_eq!(
        std::fs::read_to_string(&unformatted).unwrap(),
        std::fs::read_to_string(&formatted).unwrap(),
        "valid files are formatted"
    );
    assert!(
        std::fs::read_to_string(&invalid).unwrap().ends_with("/* never\n"),
        "an invalid file stays unchanged"
    );
    let mut pipe = command("sh");
    assert_eq!(
        stdout(pipe.args(["-c", "printf 'provider  p{};' | usdt-gen fmt -"])),
        "provider p {\n};\n"
    );
    assert_eq!(usdt_gen(&["fmt", "/nowhere.d"]).status.code(), Some(2));
}
