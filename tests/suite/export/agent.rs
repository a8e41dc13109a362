//! The agent of a host, in each form in which it is packaged.

use super::*;
use std::path::PathBuf;
use usdt_e2e::{Need, attach, have, semaphore, semaphore_of, text};

/// The agent waits for programs and follows them. It releases files that no process runs any more,
/// and keeps what those have counted.
#[test]
fn agent_follows_programs_that_start_and_end() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    // The agent counts only `ops:begin`: programs of other tests wait until another probe of theirs
    // is enabled.
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[[count]]\nprobes = [\"ops:begin\"]\nname = \"started\"\n"
    );
    let config = write(folder.path(), "agent.toml", &config);
    let checked = attach(&["agent", "--config", &config, "--check"]);
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), String::new()));
    let agent =
        Process::start(command(tools().join("usdt-attach")).args(["agent", "--config", &config]));
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    let value = |name: &str| metric(&get(port, "/metrics"), name).values().sum::<f64>();
    // Programs of other tests have the same probe, so the count is at least the expected one.
    let (mut expected, mut copies) = (0.0, Vec::new());
    for _ in 0..2 {
        let (app, target) = start_pairs();
        let address = semaphore_of(&app.path, "ops:begin");
        let fire = |target: &Process| {
            wait_for("the agent", || semaphore(target.pid(), address) == 1);
            target.signal(SIGINT);
        };
        fire(&target);
        expected += STARTED as f64;
        wait_for("the operations of the first process", || value("started_total") >= expected);
        drop(target);
        // A second process runs the same file, which the agent knows by now.
        let next = wait_until_ready(Process::start(&mut command(&app.path)));
        fire(&next);
        expected += STARTED as f64;
        wait_for("the operations of the next process", || value("started_total") >= expected);
        copies.push(app);
    }
    let holds_a_copy = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().flatten();
        let files: Vec<PathBuf> =
            entries.filter_map(|e| std::fs::read_link(e.path()).ok()).collect();
        copies.iter().any(|app: &Copy| files.contains(&app.path))
    };
    assert!(holds_a_copy());
    wait_for("the agent to release files that no process runs", || !holds_a_copy());
    assert!(value("started_total") >= expected, "counts of exited processes are kept");
    let (status, _, errors) = agent.interrupt();
    assert!(status.success(), "{errors}");
}

/// The systemd unit, the image and the Kubernetes manifest grant the same capabilities, and those
/// are sufficient.
#[test]
fn agent_runs_with_the_capabilities_of_its_unit() {
    let read = |name: &str| {
        std::fs::read_to_string(usdt_e2e::root().join("packaging").join(name)).unwrap()
    };
    let unit = read("usdt-attach.service");
    let listed = unit.lines().find_map(|l| l.strip_prefix("AmbientCapabilities=")).unwrap();
    assert!(unit.contains(&format!("CapabilityBoundingSet={listed}\n")));
    let names: Vec<&str> =
        listed.split(' ').map(|name| name.strip_prefix("CAP_").unwrap()).collect();
    assert!(read("Containerfile").contains(&format!("--cap-add={} ", names.join(","))));
    assert!(read("daemonset.yaml").contains(&format!("add: [{}]", names.join(", "))));
    if !have(&[Need::Bpf, Need::Program("setpriv")]) {
        return;
    }
    let (app, target) = start_pairs();
    let port = free_port();
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[target]\nexe = \"{}\"\n[[count]]\nprobes = [\"ops:begin\"]\nname = \"all\"\n",
        app.as_str()
    );
    let config = write(app.folder.path(), "agent.toml", &config);
    let bounding: Vec<String> =
        names.iter().map(|name| format!("+{}", name.to_lowercase())).collect();
    let agent = Process::start(
        command("setpriv")
            .arg(format!("--bounding-set=-all,{}", bounding.join(",")))
            .args(["--inh-caps=-all", "--no-new-privs"])
            .arg(tools().join("usdt-attach"))
            .args(["agent", "--config", &config]),
    );
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    fire_and_wait_for_count(&target, port);
    let (status, _, errors) = agent.interrupt();
    assert!(status.success(), "{errors}");
}

#[test]
fn systemd_accepts_the_unit() {
    if !have(&[Need::Program("systemd-analyze")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit =
        std::fs::read_to_string(usdt_e2e::root().join("packaging/usdt-attach.service")).unwrap();
    let unit = unit.replace("/usr/bin/usdt-attach", tools().join("usdt-attach").to_str().unwrap());
    let unit = write(folder.path(), "usdt-attach.service", &unit);
    let out = command("systemd-analyze").args(["verify", "--man=no", &unit]).output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
}

/// Makes the fixture fire, and waits until the metric `all` has counted every operation.
fn fire_and_wait_for_count(target: &Process, port: u16) {
    target.signal(SIGINT);
    let total = || total(&get(port, "/metrics"), "all_total").unwrap_or(0.0);
    wait_for("all operations", || total() >= STARTED as f64);
}

/// A container engine with storage of its own, which is removed with the test.
struct Podman {
    folder: tempfile::TempDir,
}

impl Podman {
    fn command(&self, args: &[&str]) -> Command {
        let folder = |name: &str| self.folder.path().join(name).into_os_string();
        let mut podman = command("podman");
        podman.arg("--root").arg(folder("root")).arg("--runroot").arg(folder("run"));
        podman
            .args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--runtime=runc"])
            .args(args);
        podman
    }

    /// Returns `podman run` with the options of the image's recipe. It adds the host's network, and
    /// the shared libraries that a test build of the program needs.
    fn run(&self, args: &[&str], options: &[&str]) -> Command {
        let mut podman = self.command(&["run", "--rm", "--network=host"]);
        // Podman's default limits exceed what it may set without CAP_SYS_RESOURCE.
        podman.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]);
        podman.args(
            ["/usr", "/lib", "/lib64"].map(|folder| format!("--volume={folder}:{folder}:ro")),
        );
        podman.args(options).arg("usdt-attach").args(args);
        podman
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // After a successful test there is nothing to remove.
        let _ = self.command(&["rm", "--all", "--force", "--time=0"]).output();
    }
}

#[test]
fn agent_runs_in_its_container_image() {
    if !have(&[Need::Bpf, Need::Program("podman"), Need::Program("runc")]) {
        return;
    }
    let recipe = usdt_e2e::root().join("packaging/Containerfile");
    let podman = Podman { folder: tempfile::tempdir().unwrap() };
    let context = podman.folder.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::copy(tools().join("usdt-attach"), context.join("usdt-attach")).unwrap();
    let mut build =
        podman.command(&["build", "--quiet", "--isolation=chroot", "--tag=usdt-attach"]);
    stdout(build.arg("--file").arg(&recipe).arg(&context));
    let recipe = std::fs::read_to_string(&recipe).unwrap();
    let flags: Vec<&str> =
        recipe.split_whitespace().filter(|word| word.starts_with("--")).collect();
    let first = flags.iter().position(|word| word.starts_with("--pid")).unwrap();
    let options = &flags[first..];
    assert_eq!(options.len(), 5, "{options:?}");
    let version = podman.run(&["--version"], options).output().unwrap();
    if matches!(version.status.code(), Some(125..=127)) {
        eprintln!("skipped: no container starts on this machine: {}", text(&version.stderr));
        return;
    }
    assert!(text(&version.stdout).starts_with("usdt-attach "), "{version:?}");

    let (app, target) = start_pairs();
    let port = free_port();
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[[count]]\nprobes = [\"ops:begin\"]\nname = \"all\"\n"
    );
    let config = write(app.folder.path(), "agent.toml", &config);
    let config = format!("--volume={config}:/etc/usdt-attach/agent.toml:ro");
    let agent =
        Process::start(&mut podman.run(&[], &[options, &[&config, "--name=agent"]].concat()));
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    let address = semaphore_of(&app.path, "ops:begin");
    wait_for("the agent", || semaphore(target.pid(), address) == 1);
    fire_and_wait_for_count(&target, port);
    stdout(&mut podman.command(&["stop", "--time=10", "agent"]));
    let (status, _, errors) = agent.finish();
    assert!(status.success() && errors.contains(" 0 dropped"), "{errors}");

    // Under a seccomp filter that does not know CAP_BPF, doctor names the filter. Newer filters
    // allow bpf(2).
    let filtered: Vec<&str> =
        options.iter().copied().filter(|word| !word.contains("seccomp")).collect();
    let doctor = podman.run(&["doctor"], &filtered).output().unwrap();
    let doctor = text(&doctor.stdout);
    assert!(
        doctor.contains("a seccomp filter blocks it: run the container with")
            || doctor.contains("programs can be loaded"),
        "{doctor}"
    );
}

/// The manifest is decoded with the Kubernetes API types, and the agent checks the configuration in
/// it.
#[test]
fn kubernetes_accepts_the_manifest() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    let mut test = command("go");
    test.args(["test", "-count=1", "./..."]).env("USDT_AGENT_CONFIG", &config);
    stdout(test.current_dir(usdt_e2e::root().join("tests/kubernetes")));
    let checked = attach(&["agent", "--check", "--config", config.to_str().unwrap()]);
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), String::new()));
}
