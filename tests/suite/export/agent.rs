//! The agent of a host, as it is packaged.

use super::*;
use std::path::PathBuf;
use usdt_e2e::{Need, attach, have, semaphore, semaphore_of, text};

/// As a service on a host: it waits for programs, follows them, lets go of files that nobody runs any more, and what those
/// have counted stays counted.
#[test]
fn an_agent_survives_what_it_watches() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    // Of all programs: other tests have such that wait for a tracer of their own by the other probes.
    let config = format!(
        "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n[[count]]\nprobes = [\"ops:begin\"]\nname = \"begun\"\n"
    );
    let config = write(folder.path(), "agent.toml", &config);
    let checked = attach(&["agent", "--config", &config, "--check"]);
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), String::new()));
    let agent =
        Process::start(command(tools().join("usdt-attach")).args(["agent", "--config", &config]));
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    let value = |name: &str| metric(&get(port, "/metrics"), name).values().sum::<f64>();
    // Other tests' programs have the same probe: there is at least what these do.
    let (mut expected, mut copies) = (0.0, Vec::new());
    for _ in 0..2 {
        let (app, target) = operating();
        let address = semaphore_of(&app.path, "ops:begin");
        let operate = |target: &Process| {
            wait_for("the agent", || semaphore(target.pid(), address) == 1);
            target.signal(SIGINT);
        };
        operate(&target);
        expected += BEGUN as f64;
        wait_for("its operations", || value("begun_total") >= expected);
        drop(target);
        // Once more, while the file is known.
        let next = ready(Process::start(&mut command(&app.path)));
        operate(&next);
        expected += BEGUN as f64;
        wait_for("the operations of the next process", || value("begun_total") >= expected);
        copies.push(app);
    }
    let held = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().flatten();
        let files: Vec<PathBuf> =
            entries.filter_map(|e| std::fs::read_link(e.path()).ok()).collect();
        copies.iter().any(|app: &Copy| files.contains(&app.path))
    };
    assert!(held());
    wait_for("files that nobody runs to be let go", || !held());
    assert!(value("begun_total") >= expected, "what was counted stays counted");
    let (status, _, errors) = agent.interrupt();
    assert!(status.success(), "{errors}");
}

/// The unit, the image and the cluster's manifest give the agent the same few capabilities, and those are enough.
#[test]
fn an_agent_runs_with_the_capabilities_of_its_unit() {
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
    let (app, target) = operating();
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
    counts_all_operations(&target, port);
    let (status, _, errors) = agent.interrupt();
    assert!(status.success(), "{errors}");
}

#[test]
fn systemd_takes_the_unit() {
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

/// Has the program operate; the metric `all` gets there.
fn counts_all_operations(target: &Process, port: u16) {
    target.signal(SIGINT);
    let total = || metric(&get(port, "/metrics"), "all_total").get("").copied().unwrap_or(0.0);
    wait_for("all operations", || total() >= BEGUN as f64);
}

/// Containers of a test, with images of its own; where there is no engine that starts any, none.
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

    /// `podman run` as the image's recipe says, but for the network, and with the libraries that a program has which was
    /// built for tests.
    fn run(&self, args: &[&str], options: &[&str]) -> Command {
        let mut podman = self.command(&["run", "--rm", "--network=host"]);
        // Podman's own are more than it may give where it has no CAP_SYS_RESOURCE.
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
        // Nothing is left of a test that succeeded.
        let _ = self.command(&["rm", "--all", "--force", "--time=0"]).output();
    }
}

#[test]
fn an_agent_runs_in_its_image() {
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
    let said: Vec<&str> = recipe.split_whitespace().filter(|word| word.starts_with("--")).collect();
    let start = said.iter().position(|word| word.starts_with("--pid")).unwrap();
    let options = &said[start..];
    assert_eq!(options.len(), 5, "{options:?}");
    let version = podman.run(&["--version"], options).output().unwrap();
    if matches!(version.status.code(), Some(125..=127)) {
        eprintln!("left out: no container starts here: {}", text(&version.stderr));
        return;
    }
    assert!(text(&version.stdout).starts_with("usdt-attach "), "{version:?}");

    let (app, target) = operating();
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
    counts_all_operations(&target, port);
    stdout(&mut podman.command(&["stop", "--time=10", "agent"]));
    let (status, _, errors) = agent.finish();
    assert!(status.success() && errors.contains(" 0 dropped"), "{errors}");

    // Behind a filter that knows no CAP_BPF, what is in the way is the filter; newer ones know it.
    let filtered: Vec<&str> =
        options.iter().copied().filter(|word| !word.contains("seccomp")).collect();
    let doctor = podman.run(&["doctor"], &filtered).output().unwrap();
    let doctor = text(&doctor.stdout);
    assert!(
        doctor.contains("a seccomp filter blocks it: run the container with")
            || doctor.contains("programs load"),
        "{doctor}"
    );
}

/// The manifest is read by the types of the cluster's own interface, and what it configures is checked by the agent.
#[test]
fn a_cluster_takes_the_manifest() {
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
