//! A service of more than 200 packages with probes in many of them: every hit reaches the tracers,
//! and a build compiles no more than it has to. `cargo xtask matrix injected` builds it with all Go
//! releases, and for arm64.

use crate::injected_values::{go, inject};
use gobinary::supported_releases::TESTED;
use std::path::Path;
use std::process::Command;
use usdt_e2e::injected::service::{
    self, CALLS, PREBUILT, RULES, count_with_bpftrace, count_with_usdt_attach, expected, module,
};
use usdt_e2e::{Fixture, Need, copy, have, list_probes, stdout, text, write};

/// Returns the value of GOFLAGS for a rule file.
fn flags(release: &str, rules: &str) -> String {
    stdout(inject(release, &[rules]).current_dir(module())).trim().to_owned()
}

fn build(release: &str, flags: &str, path: &Path) -> Command {
    let mut go = go(release, &["build", "-v", "-o", path.to_str().unwrap(), "."]);
    go.current_dir(module()).env("GOFLAGS", flags);
    go
}

/// Returns the packages that a build compiles.
fn compiled(release: &str, flags: &str, path: &Path) -> Vec<String> {
    let out = build(release, flags, path).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stderr).lines().map(str::to_owned).collect()
}

/// Compares the hits that the tracers of this machine report.
fn assert_delivered(program: &Path, what: &str) {
    if have(&[Need::Bpf]) {
        assert_eq!(count_with_usdt_attach(program, &[]).unwrap(), expected(), "{what}");
    }
    if have(&[Need::Bpf, Need::Program("bpftrace")]) {
        assert_eq!(count_with_bpftrace(program).unwrap(), expected(), "{what}");
    }
}

#[test]
fn every_call_in_a_service_of_many_packages_is_delivered() {
    if let Some(program) = Fixture::prebuilt(PREBUILT) {
        assert_delivered(&copy(&program).path, PREBUILT);
        return;
    }
    for release in [TESTED[0], TESTED[TESTED.len() - 1]] {
        let packages = service::package_count(release).unwrap();
        assert!(packages >= 200, "{packages}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service");
        service::build(release, "amd64", &path).unwrap();
        assert_eq!(list_probes(&path).len(), 2 * CALLS.len());
        service::check_verdicts(&path, 2 * CALLS.len()).unwrap();
        assert_delivered(&path, release);
    }
}

#[test]
fn a_rule_for_a_dependency_compiles_it_and_its_dependents() {
    let release = TESTED[TESTED.len() - 1];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service");
    let rules = std::fs::read_to_string(module().join(RULES)).unwrap();
    stdout(&mut build(release, "", &path));
    stdout(&mut build(release, &flags(release, RULES), &path));
    // A name that no earlier run of the test has used.
    let unique =
        format!("p{}_{}", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let more = format!(
        "{rules}\n[[probe]]\nfunc = \"github.com/gorilla/mux.(*Route).Match\"\nname = \"{unique}\"\n"
    );
    let more = flags(release, &write(folder.path(), "rules.toml", more));
    let changed = compiled(release, &more, &path);
    let expected =
        ["github.com/gorilla/mux", "usdt.local/tests/service/web", "usdt.local/tests/service"];
    assert!(changed.contains(&expected[0].to_owned()), "{changed:?}");
    assert!(changed.iter().all(|package| expected.contains(&package.as_str())), "{changed:?}");
    assert_eq!(compiled(release, &more, &path), [""; 0]);
    assert_eq!(compiled(release, "", &path), [""; 0]);
    assert_eq!(list_probes(&path), [serde_json::Value::Null; 0]);
}
