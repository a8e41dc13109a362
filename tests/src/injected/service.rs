//! A service of more than 200 packages, with probes in many of them. It sends itself a fixed number
//! of requests, so the number of hits of each probe is known.

use crate::{command, events_and_summary, output, root, text, tools, usdt_gen};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The architectures that the service is built for.
pub(super) const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];
/// The rules of its probes.
pub const RULES: &str = "inject.toml";
/// The name of the program for machines without Go.
pub const PREBUILT: &str = "service-injected";

/// The probes without `__entry` and `__return`, and how often the service calls their functions. It
/// sends 30, 50 and 7 requests of three kinds; 20 of them fail.
pub const CALLS: [(&str, u64); 26] = [
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

/// Returns the folder of the service's module.
pub fn module() -> PathBuf {
    root().join("tests/go/service")
}

/// Returns a go command of a release in the module, for an architecture.
fn go(release: &str, arch: &str) -> Command {
    let mut go = crate::go_of(release);
    go.current_dir(module());
    for_architecture(&mut go, arch);
    go
}

/// One of the packages is written in C.
fn for_architecture(command: &mut Command, arch: &str) {
    command.env("GOARCH", arch).env("CGO_ENABLED", "1");
    if arch == "arm64" && cfg!(target_arch = "x86_64") {
        command.env("CC", "aarch64-linux-gnu-gcc");
    }
}

/// Builds the service with a release for an architecture, with the probes of [`RULES`].
///
/// # Errors
///
/// Fails with the last line of the messages of `usdt-gen inject` or the go command.
pub fn build(release: &str, arch: &str, out: &Path) -> Result<(), String> {
    let mut inject = command(tools().join("usdt-gen"));
    inject.args(["inject", RULES]).current_dir(module());
    inject.env("GOTOOLCHAIN", format!("go{release}")).env("GOFLAGS", "");
    for_architecture(&mut inject, arch);
    let flags = output(&mut inject)?;
    output(go(release, arch).args(["build", "-o"]).arg(out).arg(".").env("GOFLAGS", flags.trim()))?;
    Ok(())
}

/// Returns the number of packages of the service.
///
/// # Errors
///
/// Fails with the last line of the go command's messages.
pub fn package_count(release: &str) -> Result<usize, String> {
    Ok(output(go(release, "amd64").args(["list", "-deps", "."]))?.lines().count())
}

/// Returns the expected number of hits of each probe.
pub fn expected() -> BTreeMap<String, u64> {
    let both = |(name, calls): &(&str, u64)| {
        ["entry", "return"].map(|moment| (format!("{name}__{moment}"), *calls))
    };
    CALLS.iter().flat_map(both).collect()
}

/// Runs a program in an environment, and returns the numbers of hits that `usdt-attach` reports.
///
/// # Errors
///
/// Fails if the tracer or the service does, or if events were dropped.
pub fn count_with_usdt_attach(
    program: &Path,
    environment: &[(&str, &str)],
) -> Result<BTreeMap<String, u64>, String> {
    let mut attach = command(tools().join("usdt-attach"));
    attach.args(["trace", "--json", "*:*", "--"]).arg(program).envs(environment.iter().copied());
    let out = attach.output().map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(format!("usdt-attach: {}: {}", out.status, text(&out.stderr)));
    }
    let (mut events, summary) = events_and_summary(&text(&out.stdout));
    // Programs write JSON to standard output, too.
    events.retain(|event| event["probe"].is_string());
    if summary["dropped"] != 0 || summary["hits"] != events.len() {
        return Err(format!("{} events of {summary}", events.len()));
    }
    let mut counts = BTreeMap::new();
    for event in events {
        let part = |name: &str| event[name].as_str().unwrap_or_default();
        *counts.entry(format!("{}:{}", part("provider"), part("probe"))).or_default() += 1;
    }
    Ok(counts)
}

/// Returns the numbers of hits that bpftrace reports.
///
/// # Errors
///
/// Fails if bpftrace does.
pub fn count_with_bpftrace(program: &Path) -> Result<BTreeMap<String, u64>, String> {
    let path = program.display();
    let probes: Vec<String> = expected().keys().map(|name| format!("usdt:{path}:{name}")).collect();
    let script = format!("{} {{ @[probe] = count(); }}", probes.join(", "));
    let out = output(command("bpftrace").args(["-q", "-e", &script, "-c"]).arg(program))?;
    let counts = out.lines().filter_map(|line| {
        let (name, count) = line.strip_prefix("@[")?.split_once("]: ")?;
        let name = name.strip_prefix(&format!("usdt:{path}:"))?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    Ok(counts.collect())
}

/// Returns an error that names the probes whose numbers of hits differ.
///
/// # Errors
///
/// Fails if a number differs.
pub fn compare(
    counts: &BTreeMap<String, u64>,
    expected: &BTreeMap<String, u64>,
) -> Result<(), String> {
    let names = expected.keys().chain(counts.keys()).collect::<std::collections::BTreeSet<_>>();
    let differences: Vec<String> = names
        .into_iter()
        .map(|name| (name, counts.get(name).unwrap_or(&0), expected.get(name).unwrap_or(&0)))
        .filter(|(_, found, wanted)| found != wanted)
        .map(|(name, found, wanted)| format!("{name}: {found} hits, not {wanted}"))
        .collect();
    if differences.is_empty() { Ok(()) } else { Err(differences.join(", ")) }
}

/// Fails unless the file has `probes` probes and the models of all tracers accept each of them.
/// Returns the number of verdicts.
///
/// # Errors
///
/// Fails with the first probe that a tracer does not accept.
pub fn check_verdicts(path: &Path, probes: usize) -> Result<usize, String> {
    let out = usdt_gen(&["verify", "--json", &path.display().to_string()]);
    let rows = crate::json_lines(&text(&out.stdout));
    if rows.len() != MODELS * probes {
        return Err(format!("{} verdicts on {probes} probes: {}", rows.len(), text(&out.stderr)));
    }
    for row in &rows {
        // Go before 1.24 writes no GNU build id, which perf requires.
        let lacks_build_id = row["reason"].as_str().is_some_and(|r| r.contains("GNU build ID"));
        if row["verdict"] != "accepted" && !lacks_build_id {
            return Err(row.to_string());
        }
    }
    Ok(rows.len())
}

/// The number of tracers that `usdt-gen verify` has models of.
const MODELS: usize = 5;

/// Builds the service, checks its notes, and compares the hits. For another architecture the service
/// runs in an emulator, without a tracer; `cargo xtask kernels` traces it on a kernel of that
/// architecture.
pub(super) fn check(release: &str, arch: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = folder.path().join("service");
    build(release, arch, &path)?;
    let verdicts = check_verdicts(&path, 2 * CALLS.len())?;
    if arch == "arm64" && cfg!(target_arch = "x86_64") {
        output(command("qemu-aarch64").args(["-L", "/usr/aarch64-linux-gnu"]).arg(&path))?;
        return Ok(format!("{verdicts} verdicts, and it runs in the emulator"));
    }
    compare(&count_with_usdt_attach(&path, &[])?, &expected())?;
    compare(&count_with_bpftrace(&path)?, &expected())?;
    let hits: u64 = expected().values().sum();
    Ok(format!("{verdicts} verdicts, {hits} hits in usdt-attach and in bpftrace"))
}
