//! A checkout with probes on a machine that has Go, but not `usdt-gen`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use usdt_e2e::{Need, command, have, list_probes, stdout, text, write};

/// A module with a package of probes, and a program that uses it.
fn module() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "go.mod", "module example.com/app\n\ngo 1.21\n");
    let main = "package main\n\nimport \"example.com/app/probes\"\n\nfunc main() { probes.RequestStart(1, \"\", \"\") }\n";
    write(folder.path(), "main.go", main);
    stdout(command("usdt-gen").arg("init").current_dir(folder.path()));
    folder
}

/// Returns a `PATH` on which there is no `usdt-gen`.
fn path_without_generator() -> String {
    let go = stdout(Command::new("go").args(["env", "GOROOT"]));
    let path = format!("{}/bin:/usr/bin:/bin", go.trim());
    let found = |folder: PathBuf| folder.join("usdt-gen").exists();
    assert!(!std::env::split_paths(&path).any(found), "{path} has usdt-gen");
    path
}

/// Runs a program in a folder, on a machine with or without `usdt-gen`.
fn run(program: &str, folder: &Path, has_generator: bool, args: &[&str]) -> Output {
    let mut run = if has_generator { command(program) } else { Command::new(program) };
    if !has_generator {
        run.env("PATH", path_without_generator());
    }
    run.args(args).current_dir(folder).env("GOFLAGS", "").output().unwrap()
}

fn go(folder: &Path, has_generator: bool, args: &[&str]) -> Output {
    run("go", folder, has_generator, args)
}

fn sources(app: &Path) -> Vec<String> {
    list_probes(app).iter().map(|probe| probe["source"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn go_generate_says_what_is_missing() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    let folder = module();
    let out = go(folder.path(), false, &["generate", "./..."]);
    let errors = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{errors}");
    assert!(errors.starts_with("usdt-gen.sh: usdt-gen is not installed; install it "), "{errors}");
    assert!(errors.contains("cargo install --locked usdt-gen\n"), "{errors}");
    let out = go(folder.path(), true, &["generate", "./..."]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(text(&out.stderr), "");
}

/// The program works without sealing, so the build succeeds with a warning. The go command
/// distinguishes both kinds of binaries in its cache.
#[test]
fn go_build_warns_and_does_not_seal() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    let folder = module();
    let app = folder.path().join("app");
    let script = folder.path().join("probes/usdt-gen.sh");
    let flag = format!("-toolexec=sh {} toolexec", script.display());
    let build = ["build", &flag, "-o", "app", "."];
    for _ in 0..2 {
        let out = go(folder.path(), false, &build);
        let errors = text(&out.stderr);
        assert!(out.status.success(), "{errors}");
        let warnings: Vec<&str> =
            errors.lines().filter_map(|line| line.strip_prefix("usdt-gen.sh: ")).collect();
        assert_eq!(warnings.len(), 2, "{errors}");
        assert!(warnings[0].contains("so the binary is not sealed"), "{errors}");
        assert!(warnings[1].starts_with("install it from a release"), "{errors}");
        assert_eq!(sources(&app), ["blob"]);

        let out = go(folder.path(), true, &build);
        assert!(out.status.success(), "{}", text(&out.stderr));
        assert_eq!(text(&out.stderr), "");
        assert_eq!(sources(&app), ["note"]);
    }
    // Without flags, a checkout needs neither.
    let out = go(folder.path(), false, &["vet", "./..."]);
    assert_eq!((out.status.success(), text(&out.stderr)), (true, String::new()));
    let out = go(folder.path(), false, &["build", "-o", "app", "."]);
    assert_eq!((out.status.success(), text(&out.stderr)), (true, String::new()));
    // Sealing can follow.
    assert_eq!(sources(&app), ["blob"]);
    stdout(command("usdt-gen").arg("seal").arg(&app));
    assert_eq!(sources(&app), ["note"]);
}

#[test]
fn documented_makefile_seals_where_it_can() {
    if !have(&["go", "make"].map(Need::Program)) {
        return;
    }
    let folder = module();
    let page = std::fs::read_to_string(usdt_e2e::root().join("docs/ci.md")).unwrap();
    let block = page.split("```make\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    write(folder.path(), "Makefile", format!("{block}\napp:\n\tgo build -o app .\n.PHONY: app\n"));
    let app = folder.path().join("app");
    for (has_generator, source) in [(false, "blob"), (true, "note")] {
        let out = run("make", folder.path(), has_generator, &["app"]);
        let errors = text(&out.stderr);
        assert!(out.status.success(), "{errors}");
        assert_eq!(errors.contains("the binary is not sealed"), !has_generator, "{errors}");
        assert_eq!(sources(&app), [source]);
    }
}
