//! A service of more than 200 packages with probes in many of them: every hit reaches the tracers,
//! and a build compiles no more than it has to.

use crate::injected_values::{go, inject};
use gobinary::supported_releases::TESTED;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::{
    Copy, Need, attach, command, events_and_summary, have, list_probes, root, stdout, text, write,
};

/// The probes without `__entry` and `__return`, and how often the service calls their functions. It
/// sends 30, 50 and 7 requests of three kinds; 20 of them fail.
const CALLS: [(&str, u64); 26] = [
    ("bbolt:Bucket_Get", 50),
    ("bbolt:Bucket_Put", 30),
    // One more than puts, which creates the bucket.
    ("bbolt:DB_Update", 31),
    ("bbolt:DB_View", 57),
    ("bbolt:Open", 1),
    ("bbolt:Tx_Commit", 31),
    ("http:Client_Do", 87),
    ("json:Marshal", 7),
    ("main:do", 87),
    ("main:run", 1),
    ("mux:Router_Match", 87),
    ("mux:Router_ServeHTTP", 87),
    ("prometheus:CounterVec_WithLabelValues", 20),
    ("redis:Client_Process", 30),
    ("store:Open", 1),
    ("store:Sort", 7),
    ("store:Store_Get", 50),
    ("store:Store_Keys", 7),
    ("store:Store_Put", 30),
    ("strconv:ParseBool", 7),
    ("sum:Bytes", 30),
    ("web:server_fail", 20),
    ("web:server_getHandler", 50),
    ("web:server_listHandler", 7),
    ("web:server_putHandler", 30),
    ("xxhash:Digest_MarshalBinary", 30),
];

fn module() -> PathBuf {
    root().join("tests/go/service")
}

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

/// Returns the expected number of hits of each probe.
fn expected() -> BTreeMap<String, u64> {
    let both = |(name, calls): &(&str, u64)| {
        ["entry", "return"].map(|moment| (format!("{name}__{moment}"), *calls))
    };
    CALLS.iter().flat_map(both).collect()
}

/// Returns the numbers of hits that usdt-attach reports.
fn count_with_usdt_attach(program: &Copy) -> BTreeMap<String, u64> {
    let out = attach(&["trace", "--json", "*:*", "--", program.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (events, summary) = events_and_summary(&text(&out.stdout));
    assert_eq!((&summary["dropped"], &summary["hits"]), (&0.into(), &events.len().into()));
    let mut counts = BTreeMap::new();
    for event in events {
        let part = |name: &str| event[name].as_str().unwrap();
        *counts.entry(format!("{}:{}", part("provider"), part("probe"))).or_default() += 1;
    }
    counts
}

/// Returns the numbers of hits that bpftrace reports.
fn count_with_bpftrace(program: &Copy) -> BTreeMap<String, u64> {
    let path = program.as_str();
    let probes: Vec<String> = expected().keys().map(|name| format!("usdt:{path}:{name}")).collect();
    let script = format!("{} {{ @[probe] = count(); }}", probes.join(", "));
    let out = stdout(command("bpftrace").args(["-q", "-e", &script, "-c", path]));
    let counts = out.lines().filter_map(|line| {
        let (name, count) = line.strip_prefix("@[")?.split_once("]: ")?;
        let name = name.strip_prefix(&format!("usdt:{path}:"))?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    counts.collect()
}

#[test]
fn every_call_in_a_service_of_many_packages_is_delivered() {
    for release in [TESTED[0], TESTED[TESTED.len() - 1]] {
        let packages = stdout(go(release, &["list", "-deps", "."]).current_dir(module()));
        assert!(packages.lines().count() >= 200, "{}", packages.lines().count());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service");
        stdout(&mut build(release, &flags(release, "inject.toml"), &path));
        assert_eq!(list_probes(&path).len(), 2 * CALLS.len());
        super::builds::assert_accepted(&path, 2 * CALLS.len(), release);
        let program = Copy { path, folder };
        if have(&[Need::Bpf]) {
            assert_eq!(count_with_usdt_attach(&program), expected(), "{release}");
        }
        if have(&[Need::Bpf, Need::Program("bpftrace")]) {
            assert_eq!(count_with_bpftrace(&program), expected(), "{release}");
        }
    }
}

#[test]
fn a_rule_for_a_dependency_compiles_it_and_its_dependents() {
    let release = TESTED[TESTED.len() - 1];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service");
    let rules = std::fs::read_to_string(module().join("inject.toml")).unwrap();
    stdout(&mut build(release, "", &path));
    stdout(&mut build(release, &flags(release, "inject.toml"), &path));
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
