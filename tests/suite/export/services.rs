//! Whose numbers they are: each service and each container has its own series and resource.

use super::collector::Collector;
use super::prometheus::Prometheus;
use super::*;
use std::path::{Path, PathBuf};
use usdt_e2e::{Need, attach, have, text};

const ID: &str = "4f9c8b7a6d5e4f3c2b1a09182736455463728190a0b1c2d3e4f5061728394a5b";

/// A cgroup with the name that Docker gives the one of a container, removed when the test ends.
struct Container {
    mount: tempfile::TempDir,
    id: String,
}

impl Container {
    /// `digit` distinguishes the containers of a test; the process id those of several runs.
    fn new(digit: u32) -> Container {
        let mount = tempfile::tempdir().unwrap();
        stdout(Command::new("mount").args(["-t", "cgroup2", "none"]).arg(mount.path()));
        let id = format!("{digit:04x}{:08x}{}", std::process::id(), &ID[12..]);
        let container = Container { mount, id };
        std::fs::create_dir(container.path()).unwrap();
        container
    }

    fn path(&self) -> PathBuf {
        self.mount.path().join(format!("docker-{}.scope", self.id))
    }

    fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// Returns a command that moves itself into the cgroup and then executes the program.
    fn command(&self, program: &Path) -> Command {
        let mut shell = command("sh");
        let procs = self.path().join("cgroup.procs");
        shell.args(["-c", &format!("echo $$ > {} && exec \"$@\"", procs.display()), "sh"]);
        shell.arg(program);
        shell
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for _ in 0..100 {
            // Killed processes leave the group a moment later.
            if std::fs::remove_dir(self.path()).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

/// A copy of `pairs` under a name of its own.
fn program(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    stdout(Command::new("cp").arg(Fixture::get("pairs", Mode::Sealed)).arg(&path));
    path
}

/// Starts a command that executes `pairs`, which fires `per` times in one goroutine.
fn start(command: &mut Command, program: &Path, per: u32) -> Process {
    let per = per.to_string();
    let args = ["-linger", "100s", "-goroutines", "1", "-per", &per];
    let target = wait_until_ready(Process::start(command.args(args)));
    target.wait_for_exec(program);
    target
}

/// The labels of the series of a page.
fn series(page: &str, name: &str) -> BTreeMap<String, f64> {
    metric(page, name)
}

/// The number of operations with a start: one in ten has none.
fn started(per: u32) -> f64 {
    f64::from(per - per / 10)
}

#[test]
fn each_service_has_its_own_series() {
    if !have(&[Need::Bpf, Need::Program("prometheus")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [web, orders] = ["web", "orders"].map(|name| program(folder.path(), name));
    let container = Container::new(1);
    let targets = [
        start(&mut command(&web), &web, 10),
        start(command(&orders).env("OTEL_SERVICE_NAME", "web shop\x1b"), &orders, 20),
        start(&mut container.command(&web), &web, 30),
    ];
    let pids = targets.each_ref().map(|target| target.pid().to_string());
    let expected = BTreeMap::from([
        ("{service=\"web\"}".to_owned(), started(10)),
        ("{service=\"web shop\\\\u{1b}\"}".to_owned(), started(20)),
        (format!("{{container=\"{}\",service=\"web\"}}", container.short_id()), started(30)),
    ]);
    let (web, orders) = (web.to_str().unwrap(), orders.to_str().unwrap());
    let by_pid = ["-p", pids[0].as_str(), pids[1].as_str(), pids[2].as_str()];
    let by_executable = ["--exe", web, "--exe", orders];
    let ports = [free_port(), free_port()];
    let exporters = [(by_pid, ports[0]), (by_executable, ports[1])].map(|(target, port)| {
        let port_arg = port.to_string();
        let mut args = target.to_vec();
        args.extend(["--prometheus", &port_arg, "ops:*"]);
        let exporter = start_exporter(&args);
        wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
        exporter
    });
    for port in ports {
        let page = get(port, "/metrics");
        let at_first = series(&page, "usdt_ops_begin_total");
        assert!(at_first.keys().eq(expected.keys()), "series exist before the first hit: {page}");
        assert!(at_first.values().all(|n| *n == 0.0), "{at_first:?}");
    }
    let prometheus = Prometheus::start(folder.path(), ports[0], &[]);
    targets.iter().for_each(|target| target.signal(SIGINT));
    for port in ports {
        wait_for("all operations", || {
            series(&get(port, "/metrics"), "usdt_ops_begin_total") == expected
        });
        let page = get(port, "/metrics");
        assert!(page.contains("usdt_attach_hits_total{entry=\"ops:*\""), "{page}");
        for line in page.lines() {
            assert!(line.len() < 200, "{line}");
        }
    }
    wait_for("Prometheus", || {
        let found = prometheus.query("sum by (service) (usdt_ops_begin_total)");
        found
            .iter()
            .any(|(labels, n)| labels["service"] == "web" && *n == started(10) + started(30))
    });
    // What the processes have counted stays when they have ended.
    drop(targets);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(series(&get(ports[1], "/metrics"), "usdt_ops_begin_total"), expected);
    prometheus.stop();
    for exporter in exporters {
        let (status, _, errors) = exporter.interrupt();
        assert!(status.success(), "{errors}");
        assert!(errors.contains(", 0 dropped, "), "{errors}");
    }
}

/// Two containers of one image run one file.
#[test]
fn containers_that_run_one_file_have_their_own_series() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = program(folder.path(), "app");
    let containers = [Container::new(2), Container::new(3)];
    let port = free_port();
    let exporter = start_exporter(&[
        "--exe",
        app.to_str().unwrap(),
        "--prometheus",
        &port.to_string(),
        "ops:begin",
    ]);
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    assert_eq!(
        series(&get(port, "/metrics"), "usdt_ops_begin_total"),
        BTreeMap::from([("{service=\"app\"}".to_owned(), 0.0)]),
        "nobody runs the file yet"
    );
    let mut expected = BTreeMap::new();
    let mut targets = Vec::new();
    for (container, per) in containers.iter().zip([10, 20]) {
        let mut command = container.command(&app);
        // Attributes of the resource name the service, too.
        command.env("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=the%20shop");
        let target = start(&mut command, &app, per);
        target.signal(SIGINT);
        targets.push(target);
        let labels = format!("{{container=\"{}\",service=\"the shop\"}}", container.short_id());
        expected.insert(labels, started(per));
    }
    wait_for("all operations", || {
        series(&get(port, "/metrics"), "usdt_ops_begin_total") == expected
    });
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success(), "{errors}");
}

const LIBRARY: &str = r#"
#include <sys/sdt.h>
void work(long n) { STAP_PROBE1(lib, work, n); }
"#;

const LIBRARY_USER: &str = r#"
#include <stdlib.h>
#include <unistd.h>
void work(long n);
int main(int argc, char **argv) {
  char c;
  while (read(0, &c, 1) == 1) work(c);
  return 0;
}
"#;

/// A probe of a library is hit by several programs.
#[test]
fn programs_that_share_a_library_have_their_own_series() {
    use std::process::Stdio;
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("lib.c"), LIBRARY).unwrap();
    std::fs::write(path("user.c"), LIBRARY_USER).unwrap();
    let library = path("libwork.so");
    stdout(command("gcc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(path("lib.c")));
    let mut users = ["first", "second"].map(|name| {
        let program = path(name);
        let mut gcc = command("gcc");
        gcc.arg("-o").arg(&program).arg(path("user.c")).arg(&library);
        stdout(gcc.arg(format!("-Wl,-rpath,{}", folder.path().display())));
        let mut user = command(&program);
        let child = user.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let user = Process(child);
        user.wait_for_exec(&program);
        user
    });
    let port = free_port();
    let exporter = start_exporter(&[
        "--exe",
        library.to_str().unwrap(),
        "--prometheus",
        &port.to_string(),
        "lib:work",
    ]);
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    for (user, hits) in users.iter_mut().zip([51, 52]) {
        user.0.stdin.as_mut().unwrap().write_all(&vec![b'x'; hits]).unwrap();
    }
    let expected = BTreeMap::from([
        ("{service=\"first\"}".to_owned(), 51.0),
        ("{service=\"second\"}".to_owned(), 52.0),
    ]);
    wait_for("all hits", || {
        let mut found = series(&get(port, "/metrics"), "usdt_lib_work_total");
        found.retain(|_, n| *n > 0.0);
        found == expected
    });
    drop(users);
    exporter.interrupt();
}

#[test]
fn collector_receives_a_resource_for_each_service() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [web, orders] = ["web", "orders"].map(|name| program(folder.path(), name));
    let container = Container::new(4);
    let targets = [
        start(command(&web).env("OTEL_SERVICE_NAME", "shop"), &web, 10),
        start(&mut container.command(&orders), &orders, 20),
    ];
    let pids = targets.each_ref().map(|target| target.pid().to_string()).join(",");
    let collector = Collector::start(folder.path());
    let url = collector.url();
    let port = free_port();
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[otlp]\nendpoint = \"{url}\"\n[[count]]\nprobes = \"ops:*\"\n\
         [[latency]]\nstart = \"ops:begin\"\nend = \"ops:end\"\nkey = \"id\"\n\
         [[span]]\nstart = \"ops:begin\"\nend = \"ops:end\"\nkey = \"id\"\n"
    );
    let config = write(folder.path(), "export.toml", &config);
    let exporter = start_exporter(&["-p", &pids, "--config", &config]);
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    targets.iter().for_each(|target| target.signal(SIGINT));
    let spans = [10, 20].map(|per| f64::from(per - per / 5)).iter().sum::<f64>();
    wait_for("all spans", || {
        let outcomes = metric(&get(port, "/metrics"), "usdt_attach_spans_total");
        outcomes.get("{outcome=\"complete\"}") == Some(&spans)
    });
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success(), "{errors}");
    let received = collector.finish_by_resource();
    let attribute = |index: usize, name: &str| received.spans[index].resource.get(name).cloned();
    let services: std::collections::BTreeSet<String> = (0..received.spans.len())
        .map(|index| {
            let container = attribute(index, "container.id").unwrap_or_default();
            format!(
                "{} {}",
                attribute(index, "service.name").unwrap().as_str().unwrap(),
                container.as_str().unwrap_or_default()
            )
        })
        .collect();
    let expected =
        std::collections::BTreeSet::from(["shop ".to_owned(), format!("orders {}", container.id)]);
    assert_eq!(services, expected);
    for (service, per) in [("shop", 10), ("orders", 20)] {
        let counter = &received.metrics[&(service.to_owned(), "usdt_ops_begin_total".to_owned())];
        assert_eq!(counter["sum"]["dataPoints"][0]["asInt"], (started(per) as u64).to_string());
        assert_eq!(counter["unit"], "{hit}");
        let times =
            &received.metrics[&(service.to_owned(), "usdt_ops_end_latency_seconds".to_owned())];
        assert_eq!(times["unit"], "s");
    }
    let own = |name: &str| &received.metrics[&("usdt-attach".to_owned(), name.to_owned())];
    assert_eq!(own("usdt_attach_memory_bytes")["unit"], "By");
    assert_eq!(own("usdt_attach_hits_total")["unit"], "{hit}");
    assert!(received.metrics.values().all(|metric| metric["unit"] != "1"));
}

/// Without a configuration, requests are counted by method, status and route.
#[test]
fn default_metrics_of_http_have_labels() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = usdt_e2e::copy(&Fixture::get("packages", Mode::Sealed));
    let collector = Collector::start(app.folder.path());
    let url = collector.url();
    let out = attach(&["export", "--otlp", &url, "net_http:*", "--", app.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let received = collector.finish_by_resource();
    let name = app.path.file_name().unwrap().to_str().unwrap().to_owned();
    let labels = |metric: &str| {
        let metric = &received.metrics[&(name.clone(), metric.to_owned())];
        let kind = if metric.get("sum").is_some() { "sum" } else { "histogram" };
        let points = metric[kind]["dataPoints"].as_array().unwrap();
        let names = points.iter().flat_map(|point| point["attributes"].as_array().unwrap());
        let names = names.map(|attribute| attribute["key"].as_str().unwrap().to_owned());
        names.collect::<std::collections::BTreeSet<String>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(labels("usdt_net_http_server_request_start_total"), ["method"]);
    assert_eq!(labels("usdt_net_http_server_request_end_total"), ["route", "status"]);
    assert_eq!(
        labels("usdt_net_http_server_request_end_latency_seconds"),
        ["method", "route", "status"]
    );
    assert_eq!(
        labels("usdt_net_http_client_response_received_latency_seconds"),
        ["method", "status"]
    );
}

/// A process that executes another program leaves its totals with the service that it was.
#[test]
fn totals_stay_with_the_program_that_was_executed_first() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| {
        let path = folder.path().join(name);
        stdout(Command::new("cp").arg(Fixture::get("hits", Mode::Sealed)).arg(&path));
        path
    });
    let script = format!("#!/bin/sh\nexec {} -per 3 -linger 100s\n", second.display());
    let script = write(folder.path(), "next", script);
    stdout(Command::new("chmod").args(["755", &script]));
    let start = || {
        let args = ["-per", "5", "-linger", "2500ms", "-exec", &script];
        Process::start(command(&first).args(args))
    };
    let by_executable = ["--exe", first.to_str().unwrap(), "--exe", second.to_str().unwrap()];
    let expected = BTreeMap::from([
        ("{service=\"first\"}".to_owned(), 5.0),
        ("{service=\"second\"}".to_owned(), 3.0),
    ]);
    for by_pid in [true, false] {
        let target = start();
        let pid = target.pid().to_string();
        let port = free_port();
        let port_arg = port.to_string();
        let mut args = if by_pid { vec!["-p", &pid] } else { by_executable.to_vec() };
        args.extend(["--prometheus", &port_arg, "e2e:hit"]);
        let exporter = start_exporter(&args);
        let mut page = BTreeMap::new();
        wait_for("the hits of both programs", || {
            page = series(&get(port, "/metrics"), "usdt_e2e_hit_total");
            page.values().sum::<f64>() == 8.0
        });
        assert_eq!(page, expected, "{args:?}");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(series(&get(port, "/metrics"), "usdt_e2e_hit_total"), expected, "{args:?}");
        drop(target);
        let (_, _, errors) = exporter.interrupt();
        assert!(errors.contains("8 hits"), "{errors}");
    }
}
