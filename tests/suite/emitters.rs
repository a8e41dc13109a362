//! Probes of others' making: the Rust crates `usdt` and `probe`, Debian's PostgreSQL server.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::{
    Need, Process, attach, command, have, listed, root, stdout, stream, text, tools, usdt_gen,
    wait_for,
};

/// A schema of definitions, as a user would make it.
fn schema(folder: &Path, definitions: &str) -> PathBuf {
    let (source, out) = (folder.join("probes.d"), folder.join("schema.json"));
    std::fs::write(&source, definitions).unwrap();
    let made = usdt_gen(&["schema", source.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    std::fs::write(&out, made.stdout).unwrap();
    out
}

const METHODS: [&str; 3] = ["GET", "POST", "a longer method"];

#[test]
fn rust_crates() {
    if !have(&[Need::Bpf, Need::Program("cargo")]) {
        return;
    }
    let target = root().join("target/e2e/rust");
    stdout(
        command("cargo")
            .args(["build", "--quiet", "--locked", "--target-dir"])
            .arg(&target)
            .current_dir(root().join("tests/rust")),
    );
    let app = usdt_e2e::copy(&target.join("debug/emitters"));
    let names: Vec<String> = listed(&app.path)
        .iter()
        .map(|p| format!("{}:{}", p["provider"].as_str().unwrap(), p["probe"].as_str().unwrap()))
        .collect();
    for name in [
        "cuviper:ready",
        "cuviper:work",
        "cuviper:lazy",
        "rusty:request-start",
        "rusty:request-done",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} of {names:?}");
    }
    let schema = schema(
        app.folder.path(),
        "provider rusty { probe request__start(uint64_t id, const char *method, uint8_t flags); };",
    );
    let arguments = |backend: &str| {
        let schema = schema.to_str().unwrap();
        let args = [
            "trace",
            "--json",
            "--schema",
            schema,
            "--backend",
            backend,
            "rusty:*",
            "cuviper:*",
            "--",
        ];
        let out = attach(&[&args[..], &[app.as_str()]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let (events, _) = stream(&text(&out.stdout));
        let mut by_probe: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in events {
            by_probe
                .entry(event["probe"].as_str().unwrap().to_owned())
                .or_default()
                .push(event["args"].clone());
        }
        by_probe
    };
    let seen = arguments("embedded");
    let of = |make: fn(i64) -> Value| (0..5).map(make).collect::<Vec<Value>>();
    assert_eq!(
        seen["request-start"],
        of(|id| json!({"id": id, "method": METHODS[id as usize % 3], "flags": 255 - id}))
    );
    assert_eq!(seen["request-done"], of(|id| json!({"arg0": id, "arg1": -id})));
    assert_eq!(seen["work"], of(|id| json!({"arg0": id, "arg1": -id, "arg2": id - 2})));
    assert_eq!(seen["lazy"], of(|id| json!({"arg0": id * 1000})));
    if have(&[Need::Bcc]) {
        assert_eq!(arguments("bcc"), seen);
    }
}

/// A server of the test's own, in a folder that goes away with it.
struct Postgres {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    server: Process,
}

impl Postgres {
    fn binaries() -> Option<PathBuf> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        versions.flatten().map(|v| v.path().join("bin")).find(|bin| bin.join("postgres").exists())
    }

    /// The server refuses to be root.
    fn run(program: &Path) -> Command {
        let mut command = command("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        command
    }

    fn start(binaries: PathBuf) -> Postgres {
        let folder = tempfile::tempdir().unwrap();
        stdout(Command::new("chown").arg("nobody:nogroup").arg(folder.path()));
        let data = folder.path().join("data");
        stdout(
            Postgres::run(&binaries.join("initdb"))
                .args(["--no-sync", "-A", "trust", "-U", "test", "-D"])
                .arg(&data)
                .current_dir(folder.path()),
        );
        let mut server = Postgres::run(&binaries.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "autovacuum=off"]);
        let server = Process::start(server.current_dir(folder.path()));
        let server = Postgres { folder, binaries, server };
        wait_for("the server", || {
            server.psql(&["-c", "select 1"]).output().unwrap().status.success()
        });
        server
    }

    fn psql(&self, args: &[&str]) -> Command {
        let mut psql = command(self.binaries.join("psql"));
        psql.args(["-U", "test", "-d", "postgres", "-qAt", "-h"])
            .arg(self.folder.path())
            .args(args);
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its children end with it when it is asked to; killed, it would leave them.
        self.server.signal(2);
        for _ in 0..500 {
            if self.server.0.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

const CLIENTS: usize = 4;
const QUERIES: usize = 400;

/// The text of every query of several clients at once, in order, whichever way it is said that it is text.
#[test]
fn postgresql_queries_under_load() {
    if !have(&[Need::Bpf, Need::Program("setpriv"), Need::File("/usr/lib/postgresql")]) {
        return;
    }
    let server = Postgres::start(Postgres::binaries().expect("a PostgreSQL server"));
    let folder = tempfile::tempdir().unwrap();
    let schema = schema(
        folder.path(),
        "provider postgresql { probe query__start(const char *query); probe query__done(const char *query); };",
    );
    let exe = server.binaries.join("postgres");
    let tracer = |args: &[&str]| {
        Process::start(
            command(tools().join("usdt-attach"))
                .args(["trace", "--json", "--exe", exe.to_str().unwrap(), "postgresql:query-start"])
                .args(args),
        )
    };
    let by_schema = tracer(&["--schema", schema.to_str().unwrap()]);
    let by_option = tracer(&[
        "--cstring",
        "arg0",
        "--backend",
        "bcc",
        "--filter",
        "arg0 == 'select 1 /\\* client 2*'",
    ]);
    // One link tells of exec.
    let attached = |tracer: &Process| tracer.links() >= 2;
    let has_bcc = have(&[Need::Bcc]);
    wait_for("the tracers", || attached(&by_schema) && (!has_bcc || attached(&by_option)));
    let query = |client: usize, n: usize| {
        format!("select 1 /* client {client} query {n} {}*/;", "x".repeat(n % 60))
    };
    let clients: Vec<Process> = (0..CLIENTS)
        .map(|client| {
            let script = folder.path().join(format!("{client}.sql"));
            let lines: Vec<String> = (0..QUERIES).map(|n| query(client, n) + "\n").collect();
            std::fs::write(&script, lines.concat()).unwrap();
            Process::start(&mut server.psql(&["-f", script.to_str().unwrap()]))
        })
        .collect();
    for client in clients {
        let (status, _, errors) = client.finish();
        assert!(status.success(), "{errors}");
    }
    let (_, out, errors) = by_schema.interrupt();
    let (events, summary) = stream(&out);
    assert_eq!(summary["hits"], summary["delivered"], "{errors}");
    let mut seen: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for event in &events {
        seen.entry(event["pid"].as_u64().unwrap())
            .or_default()
            .push(event["args"]["query"].as_str().unwrap());
    }
    assert_eq!(seen.len(), CLIENTS, "a process for each client");
    let mut sequences: Vec<Vec<&str>> = seen.into_values().collect();
    sequences.sort();
    for (client, sequence) in sequences.iter().enumerate() {
        let expected: Vec<String> = (0..QUERIES).map(|n| query(client, n)).collect();
        assert_eq!(*sequence, expected, "client {client}");
    }
    let (_, out, errors) = by_option.interrupt();
    if has_bcc {
        let (events, summary) = stream(&out);
        assert_eq!(
            (events.len(), &summary["hits"]),
            (QUERIES, &json!(CLIENTS * QUERIES)),
            "{errors}"
        );
    }
}
