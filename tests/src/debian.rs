//! Go programs of Debian packages, as they are: stripped, and built with the distribution's
//! release. `usdt-attach go` must show their goroutines and HTTP routes.

use crate::{Process, command, free_port, json_lines, output, wait_for};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A program that serves HTTP.
struct Service {
    package: &'static str,
    /// The path of the program in the package.
    program: &'static str,
    /// Returns the arguments for a data folder and a port.
    args: fn(&Path, u16) -> Vec<String>,
    /// A path that answers with a status of 200.
    route: &'static str,
}

const SERVICES: [Service; 2] = [
    Service {
        package: "prometheus",
        program: "usr/bin/prometheus",
        args: |folder, port| {
            let config = crate::write(folder, "prometheus.yml", "global: {}\n");
            vec![
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ]
        },
        route: "/-/ready",
    },
    Service {
        package: "etcd-server",
        program: "usr/bin/etcd",
        args: |folder, port| {
            let (clients, peers) =
                (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
            let data = folder.join("data").display().to_string();
            [
                ["--data-dir", &data],
                ["--listen-client-urls", &clients],
                ["--advertise-client-urls", &clients],
                ["--listen-peer-urls", &peers],
                ["--initial-advertise-peer-urls", &peers],
                ["--initial-cluster", &format!("default={peers}")],
            ]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
        },
        route: "/version",
    },
];

/// The number of requests that are sent to each program.
const REQUESTS: u64 = 25;

/// Runs the cells of the matrix whose names contain each of the words, and returns the names of
/// those that fail; `None` if no name does.
pub fn run(words: &[String]) -> Option<Vec<String>> {
    let mut failed = None;
    for service in &SERVICES {
        let name = format!("debian/unmodified/{}", service.package);
        if !words.iter().all(|word| name.contains(word.as_str())) {
            continue;
        }
        let failed = failed.get_or_insert_with(Vec::new);
        let outcome = tempfile::tempdir()
            .map_err(|e| e.to_string())
            .and_then(|folder| check(service, &unpack(service, folder.path())?, folder.path()));
        let verdict = outcome.as_ref().map_or_else(|e| format!("NO: {e}"), |()| "yes".to_owned());
        println!("{name:<44} {verdict}");
        if outcome.is_err() {
            failed.push(name);
        }
    }
    failed
}

/// Downloads and unpacks a package, which is not installed, and returns the path of the program.
fn unpack(service: &Service, folder: &Path) -> Result<PathBuf, String> {
    output(command("apt-get").args(["download", "-q", service.package]).current_dir(folder))?;
    let mut files = std::fs::read_dir(folder).map_err(|e| e.to_string())?.flatten();
    let package = files
        .find(|file| file.path().extension().is_some_and(|extension| extension == "deb"))
        .ok_or("apt-get downloaded no package")?;
    let root = folder.join("root");
    output(command("dpkg").arg("-x").arg(package.path()).arg(&root))?;
    Ok(root.join(service.program))
}

/// Runs a program, sends it requests, and compares what the Go view shows.
fn check(service: &Service, program: &Path, folder: &Path) -> Result<(), String> {
    let port = free_port();
    let target = Process::start(command(program).args((service.args)(folder, port)));
    let url = format!("http://127.0.0.1:{port}{}", service.route);
    let request = || {
        let mut curl = command("curl");
        curl.args(["-s", "-f", "-o", "/dev/null", &url]).status().is_ok_and(|s| s.success())
    };
    wait_for("the program to answer", request);
    let pid = target.pid().to_string();
    let tracer = Process::start(command("usdt-attach").args([
        "go",
        "--json",
        "--interval",
        "100ms",
        "-p",
        &pid,
    ]));
    tracer.wait_for_all_links();
    let answered = (0..REQUESTS).filter(|_| request()).count() as u64;
    let (_, shown, errors) = tracer.interrupt();
    let shown = json_lines(&shown).pop().ok_or(errors)?;
    let live = shown["goroutines"]["live"]["count"].as_u64().unwrap_or(0);
    let creators = shown["goroutines"]["creators"].as_array().map_or(&[][..], Vec::as_slice);
    if live < 5 || !creators.iter().any(|creator| creator["function"] == "main") {
        return Err(format!("the goroutines are {}", shown["goroutines"]));
    }
    let routes = shown["http"].as_array().map_or(&[][..], Vec::as_slice);
    let route = routes.iter().find(|route| route["path"] == service.route);
    let counted = route.map_or(&Value::Null, |route| &route["requests"]);
    if answered != REQUESTS || *counted != REQUESTS {
        return Err(format!("counted {counted} of {answered} requests: {}", shown["http"]));
    }
    Ok(())
}
