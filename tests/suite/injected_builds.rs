//! Injected probes in every kind of build: modes, caches, vendored modules, workspaces, and other
//! wrappers and flags in the same build.

use crate::injected_values::{flags, go, inject, module};
use gobinary::supported_releases::TESTED;
use std::path::Path;
use usdt_e2e::{Need, attach, command, copy, have, list_probes, stdout, text, write};

const RELEASE: &str = TESTED[TESTED.len() - 1];
const RULES: &str = "inject.toml";

/// Returns the number of injected probes in a binary.
fn count(path: &Path) -> usize {
    list_probes(path).len()
}

#[test]
fn every_build_mode_has_the_probes() {
    let folder = tempfile::tempdir().unwrap();
    let flags = flags(RELEASE, &[RULES]);
    let path = folder.path().join("out");
    for args in [
        &["-trimpath"][..],
        &["-buildmode=pie"],
        &["-buildmode=c-shared"],
        &["-buildmode=plugin"],
        &["-cover"],
        &["-race"],
        &["-ldflags=-s -w"],
    ] {
        let mut build = go(RELEASE, &["build", "-o", path.to_str().unwrap()]);
        stdout(build.args(args).arg(".").env("GOFLAGS", &flags));
        super::builds::assert_accepted(&path, 52, &args.join(" "));
        if args == ["-race"] && have(&[Need::Bpf]) {
            let program = copy(&path);
            let out = attach(&["trace", "--json", "*:*", "--", program.as_str()]);
            let (events, _) = usdt_e2e::events_and_summary(&text(&out.stdout));
            assert!(events.len() > 60, "{}", text(&out.stderr));
            assert!(!text(&out.stderr).contains("DATA RACE"), "{}", text(&out.stderr));
        }
    }
    for args in [&["vet", "./..."][..], &["test", "./..."], &["run", "."]] {
        stdout(go(RELEASE, args).env("GOFLAGS", &flags));
    }
    let mut install = go(RELEASE, &["install", "."]);
    stdout(install.env("GOFLAGS", &flags).env("GOBIN", folder.path()));
    assert_eq!(count(&folder.path().join("inject")), 52);
}

/// gdb, bcc, bpftrace and perf list every injected probe of a program.
#[test]
fn every_tracer_lists_injected_probes() {
    let tools = ["gdb", "tplist-bpfcc", "bpftrace", "perf"].map(Need::Program);
    if !have(&[&[Need::Bpf][..], &tools].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    let mut build = go(RELEASE, &["build", "-o", path.to_str().unwrap(), "."]);
    stdout(build.env("GOFLAGS", flags(RELEASE, &[RULES])));
    let program = path.to_str().unwrap();
    let cache = folder.path().join("perf");
    let perf = |args: &[&str]| {
        let mut perf = command("perf");
        stdout(perf.arg("--buildid-dir").arg(&cache).args(args).env("PAGER", "cat"))
    };
    std::fs::create_dir(&cache).unwrap();
    perf(&["buildid-cache", "--add", program]);
    let gdb = ["-nx", "-batch", "-ex", "info probes stap"];
    let listed = [
        ("gdb", stdout(command("gdb").args(gdb).arg(&path))),
        ("bcc", stdout(command("tplist-bpfcc").args(["-l", program]))),
        ("bpftrace", stdout(command("bpftrace").args(["-l", &format!("usdt:{program}:*")]))),
        ("perf", perf(&["list", "--no-desc", "sdt"])),
    ];
    let probes = list_probes(&path);
    assert_eq!(probes.len(), 52);
    for probe in &probes {
        let name = probe["probe"].as_str().unwrap();
        for (tracer, list) in &listed {
            assert!(list.contains(name), "{tracer} does not list {name}: {list}");
        }
    }
}

/// Returns the packages that a build compiles.
fn compiled(flags: &str) -> Vec<String> {
    let out = go(RELEASE, &["build", "-v", "-o", "/dev/null", "."])
        .env("GOFLAGS", flags)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stderr).lines().map(str::to_owned).collect()
}

#[test]
fn a_rule_compiles_only_its_packages_and_plain_builds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    compiled("");
    // Names that no earlier run of the test has used.
    let unique =
        format!("p{}_{}", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let first = format!("[[probe]]\nfunc = \"usdt.local/inject/asm.Ask\"\nname = \"{unique}\"\n");
    let flags_of = |rules: &str| flags(RELEASE, &[&write(folder.path(), "rules.toml", rules)]);
    let changed = compiled(&flags_of(&first));
    assert!(changed.contains(&"usdt.local/inject/asm".to_owned()), "{changed:?}");
    assert!(changed.iter().all(|p| p.ends_with("/asm") || p == "usdt.local/inject"), "{changed:?}");
    let second =
        format!("{first}[[probe]]\nfunc = \"usdt.local/inject/cgo.Twice\"\nname = \"{unique}\"\n");
    let changed = compiled(&flags_of(&second));
    assert!(changed.contains(&"usdt.local/inject/cgo".to_owned()), "{changed:?}");
    assert!(changed.iter().all(|p| p.ends_with("/cgo") || p == "usdt.local/inject"), "{changed:?}");
    assert_eq!(compiled(&flags_of(&second)), [""; 0]);
    assert_eq!(compiled(""), [""; 0]);
    let plain = folder.path().join("plain");
    stdout(&mut go(RELEASE, &["build", "-o", plain.to_str().unwrap(), "."]));
    let out = attach(&["list", "--json", plain.to_str().unwrap()]);
    assert!(!text(&out.stdout).contains(&unique), "{}", text(&out.stdout));
}

#[test]
fn compiler_flags_of_the_user_never_hide_the_probes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    let build = |flags: &str, args: &[&str]| {
        let mut build = go(RELEASE, &["build", "-o", path.to_str().unwrap()]);
        build.args(args).arg(".").env("GOFLAGS", flags).output().unwrap()
    };
    let out = build(&flags(RELEASE, &[RULES]), &["-gcflags=all=-N -l"]);
    assert!(!out.status.success());
    let errors = text(&out.stderr);
    assert!(errors.contains("compiled without the probes of the plan: `"), "{errors}");
    assert!(errors.contains("usdt-gen inject --gcflags='all=-N -l'"), "{errors}");
    let out = build(&flags(RELEASE, &["--gcflags=all=-N -l", RULES]), &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(count(&path), 52);
}

/// Two empty build caches, and two places.
#[test]
fn builds_are_reproducible() {
    let mut binaries = Vec::new();
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "go.mod", "module example.com/small\n\ngo 1.21\n");
        write(
            folder.path(),
            "main.go",
            "package main\n\nfunc main() { work(1, \"a\") }\n\n//go:noinline\nfunc work(n int, s string) { println(n, s) }\n",
        );
        let flags = inject(RELEASE, &["main.work"]).current_dir(folder.path()).output().unwrap();
        assert!(flags.status.success(), "{}", text(&flags.stderr));
        let mut build = go(RELEASE, &["build", "-trimpath", "-o", "program", "."]);
        build.current_dir(folder.path()).env("GOFLAGS", text(&flags.stdout).trim());
        stdout(build.env("GOCACHE", folder.path().join("cache")));
        let program = folder.path().join("program");
        assert_eq!(count(&program), 2);
        binaries.push(std::fs::read(program).unwrap());
    }
    assert!(binaries[0] == binaries[1], "the binaries differ");
}

/// The language version of a module applies to the code that is added to its packages.
#[test]
fn packages_of_old_language_versions_have_the_probes() {
    for release in [TESTED[0], RELEASE] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "go.mod", "module example.com/old\n\ngo 1.7\n");
        write(
            folder.path(),
            "main.go",
            "package main\n\nimport \"time\"\n\nfunc main() { work(1, \"a\", nil, 1) }\n\n//go:noinline\n\
             func work(n int, s string, v interface{}, d time.Duration) error { println(n, s); return nil }\n",
        );
        let flags = inject(release, &["main.work"]).current_dir(folder.path()).output().unwrap();
        assert!(flags.status.success(), "{}", text(&flags.stderr));
        let mut build = go(release, &["build", "-o", "program", "."]);
        stdout(build.current_dir(folder.path()).env("GOFLAGS", text(&flags.stdout).trim()));
        assert_eq!(count(&folder.path().join("program")), 2, "{release}");
    }
}

#[test]
fn vendored_modules_and_workspaces_have_the_probes() {
    let folder = tempfile::tempdir().unwrap();
    let copy_of_module = folder.path().join("inject");
    stdout(command("cp").arg("-r").arg(module()).arg(&copy_of_module));
    let build = |name: &str| {
        let path = folder.path().join(name);
        let flags = inject(RELEASE, &[RULES]).current_dir(&copy_of_module).output().unwrap();
        let mut build = go(RELEASE, &["build", "-o", path.to_str().unwrap(), "."]);
        stdout(build.current_dir(&copy_of_module).env("GOFLAGS", text(&flags.stdout).trim()));
        assert_eq!(count(&path), 52, "{name}");
    };
    write(folder.path(), "go.work", "go 1.21\n\nuse ./inject\n");
    build("workspace");
    std::fs::remove_file(folder.path().join("go.work")).unwrap();
    stdout(go(RELEASE, &["mod", "vendor"]).current_dir(&copy_of_module));
    build("vendor");
}

#[test]
fn other_wrappers_run_in_the_same_build() {
    let folder = tempfile::tempdir().unwrap();
    let wrapper = super::builds::logging_wrapper(folder.path());
    let wrapper = wrapper.to_str().unwrap();
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let path = folder.path().join("program");
    // The linker's identity has that of the plan, so another plan links again.
    let after = flags(RELEASE, &["--toolexec", wrapper, RULES]);
    let before = after
        .replace("'-toolexec=", &format!("'-toolexec={wrapper} "))
        .replace(&format!(" {wrapper}'"), "'");
    for flags in [after, before] {
        let _ = std::fs::remove_file(folder.path().join("log"));
        stdout(go(RELEASE, &["build", "-o", path.to_str().unwrap(), "."]).env("GOFLAGS", &flags));
        assert_eq!(count(&path), 52, "{flags}");
        assert!(log().contains("/link "), "{flags}: {}", log());
    }
}
