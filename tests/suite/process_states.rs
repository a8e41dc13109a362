//! Processes that cannot be traced, or that hit no probes, because of the state that they are in.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use usdt_e2e::{
    Fixture, Mode, Need, Process, attach, command, copy, have, stdout, text, tools, wait_for,
};

const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;

/// Returns the message of `list -p` and that of `trace -p`.
fn messages(pid: u32) -> [String; 2] {
    let pid = pid.to_string();
    [&["list", "-p", &pid][..], &["trace", "-p", &pid]].map(|args| {
        let out = attach(args);
        assert_ne!(out.status.code(), Some(0), "{}", text(&out.stdout));
        text(&out.stderr)
    })
}

/// Returns the state of a process as `/proc` shows it.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

#[test]
fn names_a_zombie_and_its_parent() {
    let mut zombie = Command::new("true").spawn().unwrap();
    wait_for("the process to exit", || state(zombie.id()) == 'Z');
    let expected = format!(
        "error: process {} is a zombie: it has ended, and process {}, its parent, has not waited for it\n",
        zombie.id(),
        std::process::id()
    );
    assert_eq!(messages(zombie.id()), [expected.clone(), expected]);
    zombie.wait().unwrap();
    let gone = format!("error: no process {}; it may have ended\n", zombie.id());
    assert_eq!(messages(zombie.id()), [gone.clone(), gone]);
}

#[test]
fn names_a_kernel_thread() {
    let is_kthreadd =
        std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n");
    if !is_kthreadd {
        return;
    }
    for message in messages(2) {
        assert_eq!(
            message,
            "error: process 2 is a kernel thread, which executes no file and has no probes\n"
        );
    }
}

#[test]
fn names_the_process_of_a_thread() {
    let target = Process::start(&mut command(Fixture::get("hits", Mode::Sealed)));
    let pid = target.pid();
    let tasks = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    wait_for("a thread", || tasks().count() > 1);
    let threads = tasks().map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let thread: u32 = threads.into_iter().find(|id| *id != pid).unwrap();
    for message in messages(thread) {
        assert_eq!(
            message,
            format!(
                "error: {thread} is the id of a thread of process {pid}; pass {pid}: a process is traced with all its threads\n"
            )
        );
    }
}

#[test]
fn traces_a_stopped_process_and_says_that_it_is_stopped() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(command(&app.path).args(["-per", "2"]));
    target.wait_for_exec(&app.path);
    target.signal(SIGSTOP);
    wait_for("the process to stop", || state(target.pid()) == 'T');
    let pid = target.pid().to_string();
    let tracer = Process::start(
        command(tools().join("usdt-attach")).args(["trace", "-p", &pid, "--json", "e2e:hit"]),
    );
    wait_for("the tracer", || tracer.is_attached());
    target.signal(SIGCONT);
    target.finish();
    let (_, out, errors) = tracer.finish();
    assert_eq!(out.lines().count(), 3, "{out}");
    let expected = format!(
        "warning: process {pid} is stopped by a signal and hits no probes until it gets SIGCONT\n"
    );
    assert_eq!(errors, expected);
}

#[test]
fn says_which_process_debugs_a_stopped_one() {
    if !have(&[Need::Bpf, Need::Program("gdb")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let target = Process::start(&mut command(&app.path));
    target.wait_for_exec(&app.path);
    let pid = target.pid().to_string();
    let mut gdb = Process(
        command("gdb")
            .args(["-nx", "-q", "-p", &pid])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_for("the debugger", || state(target.pid()) == 't');
    let out = attach(&["trace", "-p", &pid, "--duration", "100ms", "e2e:hit"]);
    let errors = text(&out.stderr);
    let expected = format!(
        "warning: process {pid} is stopped by process {}, which debugs it, and hits no probes until that lets it continue\n",
        gdb.pid()
    );
    assert!(errors.starts_with(&expected), "{errors}");
    drop(gdb.0.stdin.take());
}

/// `/proc` does not show the process, but the kernel knows it.
#[test]
fn says_that_proc_hides_a_process() {
    if !have(&[Need::Bpf, Need::Program("setpriv"), Need::Program("unshare")]) {
        return;
    }
    let folder = copy(&tools().join("usdt-attach"));
    stdout(Command::new("chmod").arg("755").arg(folder.folder.path()));
    let target = Process::start(command("sleep").arg("60"));
    for (option, expected) in [
        (
            "invisible",
            format!(
                "error: process {} exists, but /proc is mounted with hidepid=invisible and hides it; run as root or with CAP_SYS_PTRACE\n",
                target.pid()
            ),
        ),
        (
            "noaccess",
            format!(
                "error: process {} belongs to another user; run as root or with CAP_SYS_PTRACE\n",
                target.pid()
            ),
        ),
    ] {
        let script = format!(
            "mount -t proc -o hidepid={option} proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all {} list -p {}",
            folder.as_str(),
            target.pid()
        );
        let out = command("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
        assert_eq!((text(&out.stderr), out.status.code()), (expected, Some(3)));
    }
    let script = format!(
        "mount -t proc -o hidepid=invisible proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all {} list --all",
        folder.as_str()
    );
    let out = command("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let warning = "warning: /proc is mounted with hidepid=invisible and hides processes of other users; run as root or with CAP_SYS_PTRACE to include them\n";
    assert!(text(&out.stderr).starts_with(warning), "{}", text(&out.stderr));
}

/// An id of the outer namespace is another process in the inner one.
#[test]
fn rejects_the_proc_of_another_pid_namespace() {
    if !have(&[Need::Bpf, Need::Program("unshare")]) {
        return;
    }
    let script = format!("{} list -p 1; exit $?", tools().join("usdt-attach").display());
    let out = command("unshare").args(["-p", "-f", "sh", "-c", &script]).output().unwrap();
    let errors = text(&out.stderr);
    assert!(
        errors
            .starts_with("error: process 1 cannot be looked up: /proc shows another PID namespace"),
        "{errors}"
    );
    assert_eq!(out.status.code(), Some(3));
}

/// A process that has got the id of one that was looked up is not traced.
#[test]
fn rejects_a_process_whose_id_was_reused() {
    if !have(&[Need::Bpf, Need::Program("unshare"), Need::Program("python3")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    // The tracer is stopped between opening the process and attaching, by a debugger's means: the
    // process ends as soon as the tracer holds a pidfd, and its id is taken at once.
    let script = r#"
import glob, os, subprocess, sys
tool, app = sys.argv[1:]
wrong = 0
for _ in range(20):
    first = subprocess.Popen(["sleep", "60"])
    tracer = subprocess.Popen([tool, "trace", "-p", str(first.pid), "--duration", "300ms", "e2e:hit"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    def has_pidfd():
        for fd in glob.glob(f"/proc/{tracer.pid}/fd/*"):
            try:
                if "pidfd" in os.readlink(fd): return True
            except OSError: pass
        return False
    while tracer.poll() is None and not has_pidfd(): pass
    first.kill(); first.wait()
    open("/proc/sys/kernel/ns_last_pid", "w").write(str(first.pid - 1))
    second = subprocess.Popen([app, "-per", "1000", "-timeout", "400ms"], stderr=subprocess.PIPE)
    out, _ = tracer.communicate()
    _, errors = second.communicate()
    if second.pid == first.pid and b"no tracer attached" not in errors: wrong += 1
print("wrong", wrong)
"#;
    let mut namespace = Process(
        command("unshare")
            .args(["-p", "-f", "--mount-proc", "python3", "-c", script])
            .arg(tools().join("usdt-attach"))
            .arg(&app.path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(namespace.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "wrong 0\n");
}
