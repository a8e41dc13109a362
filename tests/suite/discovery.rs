//! Probes are found in files of other processes: deleted files, files without a name or without
//! section headers, and files in other mount namespaces.

use serde_json::Value;
use std::path::Path;
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, events_and_summary, have, json_lines,
    stdout, text, wait_for,
};

/// Returns the rows of `list --all` for objects whose path ends with `suffix`.
fn list_all(suffix: &str) -> Vec<Value> {
    let out = attach(&["list", "--all", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let rows = json_lines(&text(&out.stdout));
    rows.into_iter().filter(|r| r["object"].as_str().is_some_and(|o| o.ends_with(suffix))).collect()
}

fn can_trace() -> bool {
    have(&[Need::Bpf])
}

/// Starts a program that waits for a tracer.
fn start_waiting(program: &Path) -> Process {
    Process::start(command(program).args(["-timeout", "60s"]))
}

/// Returns true if the memory map of a process contains `name`.
pub(crate) fn is_mapped(pid: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains(name))
}

#[test]
fn lists_each_file_once_with_all_its_processes() {
    if !can_trace() {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let targets = [start_waiting(&app.path), start_waiting(&app.path)];
    for target in &targets {
        wait_for("the program", || is_mapped(target.pid(), app.as_str()));
    }
    let rows = list_all(app.as_str());
    assert_eq!(rows.len(), 7, "two processes share one object");
    let mut pids: Vec<u32> = targets.iter().map(Process::pid).collect();
    pids.sort_unstable();
    assert_eq!(rows[0]["pids"], serde_json::json!(pids));
    let out = attach(&["list", "--all", "e2e:twelve", "other*:hit"]);
    let header = format!("{} (2 processes: {}, {})", app.as_str(), pids[0], pids[1]);
    let shown = text(&out.stdout);
    let lines: Vec<&str> = shown.lines().skip_while(|l| *l != header).take(3).collect();
    assert_eq!(lines.len(), 3, "{header} is not in {shown}");
    assert!(
        lines[1].starts_with("  e2e:twelve(int a,") && lines[2] == "  other_provider:hit(int n)",
        "{shown}"
    );
}

/// A program of a container: its path exists only in the container's mount namespace.
#[test]
fn finds_programs_in_other_mount_namespaces() {
    if !can_trace() || !have(&[Need::Program("unshare")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("contained");
    let script = format!(
        "mount -t tmpfs none {0} && cp {1} {2} && exec {2} -per 3 -timeout 60s",
        folder.path().display(),
        app.as_str(),
        inside.display()
    );
    let target = Process::start(command("unshare").args(["-m", "sh", "-c", &script]));
    wait_for("the program", || is_mapped(target.pid(), "/contained"));
    assert!(!inside.exists(), "the path does not exist in this namespace");
    let rows = list_all(inside.to_str().unwrap());
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[0]["pids"], serde_json::json!([target.pid()]));
    let out = attach(&["trace", "--json", "-p", &target.pid().to_string(), "e2e:hit"]);
    let (events, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(events.len(), 3, "{}", text(&out.stderr));
}

/// A memfd never had a name in any folder.
#[test]
fn finds_programs_in_memfd_files() {
    if !can_trace() || !have(&[Need::Program("python3")]) {
        return;
    }
    let app = Fixture::get("hits", Mode::Sealed);
    let script = "import os, sys\nfd = os.memfd_create('unnamed')\nos.write(fd, open(sys.argv[1], 'rb').read())\n\
                  os.execve(fd, ['unnamed', '-per', '3', '-timeout', '60s'], os.environ)\n";
    let target = Process::start(command("python3").args(["-c", script]).arg(&app));
    wait_for("the program", || is_mapped(target.pid(), "/memfd:unnamed"));
    assert_eq!(list_all("/memfd:unnamed").len(), 7);
    let out = attach(&["trace", "--json", "-p", &target.pid().to_string(), "e2e:hit"]);
    let (events, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(events.len(), 3, "{}", text(&out.stderr));
}

/// The file is replaced while its process runs: the process has the old file, the path leads to the
/// new one.
#[test]
fn traces_the_replaced_file_of_a_running_process() {
    if !can_trace() {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(command(&app.path).args(["-per", "3", "-timeout", "60s"]));
    wait_for("the program", || is_mapped(target.pid(), app.as_str()));
    let newer = app.folder.path().join("newer");
    stdout(command("cp").arg("/bin/true").arg(&newer));
    std::fs::rename(&newer, &app.path).unwrap();
    let by_path = attach(&["list", app.as_str()]);
    assert_eq!(text(&by_path.stdout), "");
    assert_eq!(list_all(app.as_str()).len(), 7);
    let out = attach(&["trace", "--json", "-p", &target.pid().to_string(), "e2e:hit"]);
    let (events, _) = events_and_summary(&text(&out.stdout));
    assert_eq!(events.len(), 3, "{}", text(&out.stderr));
}

/// Without section headers, notes are found if they are loaded, and blobs by their content.
#[test]
fn finds_probes_without_section_headers() {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    remove_section_headers(&app.path);
    let rows = usdt_e2e::list_probes(&app.path);
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|r| r["source"] == "blob"));
    if !cfg!(target_arch = "x86_64") || !have(&[Need::Program("cc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = crate::verification::build(
        folder.path(),
        &crate::verification::ASSEMBLY.replace(".note.stapsdt, \"\"", ".note.stapsdt, \"a\""),
    );
    remove_section_headers(&program);
    let rows = usdt_e2e::list_probes(&program);
    assert_eq!(
        (rows.len(), &rows[0]["source"], &rows[0]["args"]),
        (1, &"note".into(), &"-4@%eax".into())
    );
}

/// Removes the section headers, as `sstrip` does.
fn remove_section_headers(path: &Path) {
    let mut data = std::fs::read(path).unwrap();
    data[40..48].fill(0);
    data[60..64].fill(0);
    std::fs::write(path, data).unwrap();
}
