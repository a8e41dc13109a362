//! One file under several paths and mounts: overlays of one image, bind mounts and hard links.

use crate::loaded_libraries::{Host, Programs};
use std::path::PathBuf;
use std::process::Command;
use usdt_e2e::containment::Mounts;
use usdt_e2e::{
    Need, Process, attach, backends, command, events_and_summary, free_port, have, stdout, text,
    tools, wait_for, write,
};

/// A folder with an image, and processes that run its program in containers.
struct Containers {
    hosts: Vec<Host>,
    roots: Vec<PathBuf>,
    // Unmounted before the folder is removed.
    _mounts: Mounts,
    folder: tempfile::TempDir,
}

impl Containers {
    fn start(count: usize) -> Containers {
        let programs = Programs::build();
        let folder = tempfile::tempdir().unwrap();
        let lower = folder.path().join("lower");
        std::fs::create_dir(&lower).unwrap();
        stdout(Command::new("cp").args([
            programs.path("host"),
            programs.path("libplug.so"),
            lower,
        ]));
        let mut mounts = Mounts::default();
        let roots: Vec<PathBuf> = (0..count)
            .map(|n| {
                let lower = folder.path().join("lower");
                mounts.overlay(&lower, folder.path(), &n.to_string()).unwrap()
            })
            .collect();
        let hosts = roots.iter().map(|root| Host::start(&root.join("host"))).collect();
        Containers { hosts, roots, _mounts: mounts, folder }
    }

    fn tell(&mut self, command: &str) {
        self.hosts.iter_mut().for_each(|host| host.tell(command));
    }

    fn pids(&self) -> Vec<u32> {
        self.hosts.iter().map(Host::pid).collect()
    }
}

fn start(args: &[&str]) -> Process {
    let tracer = Process::start(command(tools().join("usdt-attach")).args(args));
    wait_for("the tracer", || tracer.is_attached());
    tracer
}

/// Returns the number of hits of each process, from the output of `count --json --by pid`.
fn counts(out: &str, pids: &[u32]) -> Vec<u64> {
    let (rows, _) = events_and_summary(out);
    let hits = |pid: &u32| {
        let rows = rows.iter().filter(|row| row["labels"]["pid"] == *pid);
        rows.map(|row| row["count"].as_u64().unwrap()).sum()
    };
    pids.iter().map(hits).collect()
}

#[test]
fn counts_each_hit_once_in_containers_of_one_image() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let mut containers = Containers::start(3);
    let pids = containers.pids();
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let exe = containers.roots[0].join("host");
    for backend in backends() {
        for target in [&["--all"][..], &["-p", &list], &["--exe", exe.to_str().unwrap()]] {
            let args = ["count", "--json", "--by", "pid", "--backend", backend, "host:tick"];
            let tracer = start(&[&args, target].concat());
            containers.tell("tick 20");
            let (_, out, errors) = tracer.interrupt();
            assert_eq!(counts(&out, &pids), [20, 20, 20], "{target:?} {backend}: {out}{errors}");
        }
    }
}

/// The libraries of a program in a container are those of the image, too.
#[test]
fn counts_hits_of_libraries_once_in_containers_of_one_image() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let mut containers = Containers::start(2);
    for (host, root) in containers.hosts.iter_mut().zip(&containers.roots) {
        host.tell(&format!("load {}", root.join("libplug.so").display()));
    }
    let pids = containers.pids();
    let exe = containers.roots[0].join("host");
    for target in [&["--all"][..], &["--exe", exe.to_str().unwrap()]] {
        let args = ["count", "--json", "--by", "pid", "plug:hit"];
        let tracer = start(&[&args, target].concat());
        // Libraries of an executable are attached to by the first poll.
        std::thread::sleep(std::time::Duration::from_millis(500));
        containers.tell("fire 8");
        let (_, out, errors) = tracer.interrupt();
        assert_eq!(counts(&out, &pids), [8, 8], "{target:?}: {out}{errors}");
    }
}

#[test]
fn the_agent_counts_once_in_containers_of_one_image() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let mut containers = Containers::start(2);
    let port = free_port();
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[[count]]\nprobes = [\"host:tick\"]\nlabels = [\"pid\"]\n"
    );
    let config = write(containers.folder.path(), "agent.toml", &config);
    let agent = start(&["agent", "--config", &config]);
    let page = || crate::export::get(port, "/metrics");
    wait_for("the endpoint", || !page().is_empty());
    containers.tell("tick 13");
    let values = || {
        let series = crate::export::metric(&page(), "usdt_host_tick_total");
        let of = |pid: &u32| {
            series
                .iter()
                .find(|(labels, _)| labels.contains(&format!("\"{pid}\"")))
                .map(|(_, n)| *n)
        };
        containers.pids().iter().map(of).collect::<Vec<_>>()
    };
    wait_for("the hits", || values().iter().all(Option::is_some));
    assert_eq!(values(), [Some(13.0), Some(13.0)]);
    agent.interrupt();
}

/// overlayfs copies a file when it is changed. A process that runs it keeps the old one.
#[test]
fn says_that_a_running_file_was_copied_up() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let mut containers = Containers::start(2);
    let pids = containers.pids();
    stdout(Command::new("chmod").arg("750").arg(containers.roots[0].join("host")));
    let out = attach(&["count", "-p", &pids[0].to_string(), "--duration", "100ms", "host:tick"]);
    let errors = text(&out.stderr);
    assert!(errors.contains("before overlayfs copied it"), "{errors}");
    assert!(errors.contains(&format!("process {}", pids[0])), "{errors}");
    // The other container still has the file of the image, which both processes run.
    let tracer = start(&["count", "--all", "--json", "--by", "pid", "host:tick"]);
    containers.tell("tick 6");
    let (_, out, errors) = tracer.interrupt();
    assert_eq!(counts(&out, &pids), [6, 6], "{out}{errors}");
}

#[test]
fn counts_each_hit_once_under_bind_mounts_and_hard_links() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let programs = Programs::build();
    let folder = tempfile::tempdir().unwrap();
    let (link, place) = (programs.path("link"), folder.path().join("place"));
    std::fs::hard_link(programs.path("host"), &link).unwrap();
    std::fs::create_dir(&place).unwrap();
    let mut mounts = Mounts::default();
    mounts.mount(&["--bind", programs.path("").to_str().unwrap()], &place).unwrap();
    let paths = [programs.path("host"), link, place.join("host")];
    let mut hosts = paths.map(|path| Host::start(&path));
    let pids = hosts.each_ref().map(Host::pid);
    let list = pids.map(|pid| pid.to_string()).join(",");
    for target in [&["--all"][..], &["-p", &list]] {
        let tracer = start(&[&["count", "--json", "--by", "pid", "host:tick"], target].concat());
        hosts.iter_mut().for_each(|host| host.tell("tick 10"));
        let (_, out, errors) = tracer.interrupt();
        assert_eq!(counts(&out, &pids), [10, 10, 10], "{target:?}: {out}{errors}");
    }
    drop(hosts);
}
