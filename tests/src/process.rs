//! Processes that are killed when their test ends.

use crate::{text, wait_for};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The names of the files of a BPF link, by kernel.
const BPF_LINK: &[&str] = &["bpf_link", "bpf-link"];
const PERF_EVENT: &[&str] = &["[perf_event]"];

/// A child process that is killed when its test ends, even if the test panics.
pub struct Process(pub Child);

impl Process {
    /// Starts a command with piped standard output and standard error.
    pub fn start(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until the process executes `program`: between fork and exec it is still a copy of this
    /// process.
    pub fn wait_for_exec(&self, program: &Path) {
        let exe = format!("/proc/{}/exe", self.pid());
        wait_for("the process to execute its program", || {
            std::fs::read_link(&exe).is_ok_and(|exe| exe == program)
        });
    }

    /// Returns the number of BPF links and perf events that the process holds. Creating them is the
    /// last step of attaching.
    pub fn link_count(&self) -> usize {
        self.bpf_link_count() + self.descriptors(PERF_EVENT).len()
    }

    /// Returns the number of BPF links only: a perf event increments the semaphore before a program
    /// is attached to it.
    pub fn bpf_link_count(&self) -> usize {
        self.descriptors(BPF_LINK).len()
    }

    /// Waits until the process, a tracer with several sessions, is attached to probes and has made no
    /// further link for a while.
    pub fn wait_for_all_links(&self) {
        let mut last = 0;
        wait_for("the tracer to attach", || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let links = self.bpf_link_count();
            links > 2 && std::mem::replace(&mut last, links) == links
        });
    }

    /// Returns true if the process, a tracer, is attached to probes and follows its target: it has a
    /// link of uprobes in a file that is not a dynamic linker, and one that reports `exec`. Links that
    /// report libraries and children are not among them.
    pub fn is_attached(&self) -> bool {
        let (mut has_probes, mut reports_exec) = (!self.descriptors(PERF_EVENT).is_empty(), false);
        for info in self.bpf_links() {
            // Links to the linker and, for the cost of a hit, to the tracer itself are others.
            let is_own = info.contains(&format!("pid:\t{}\n", self.pid()));
            let is_linker = info.contains("/ld-linux") || info.contains("/ld-musl");
            let is_other = is_own || is_linker;
            has_probes |= info.contains("uprobe_multi") && !is_other;
            // Kernels before 5.10 name no tracepoint. Other links may be there before.
            let reports = info.contains("tracepoint") || !info.contains("link_type");
            reports_exec |=
                reports && (info.contains("sched_process_exec") || !info.contains("tp_name"));
        }
        has_probes && reports_exec
    }

    /// Returns true if the process, a tracer, is attached to probes of a file whose path contains this.
    pub fn is_attached_to(&self, path: &str) -> bool {
        self.bpf_links().iter().any(|info| info.contains("uprobe_multi") && info.contains(path))
    }

    /// What the kernel tells of each BPF link.
    fn bpf_links(&self) -> Vec<String> {
        let info = |number| format!("/proc/{}/fdinfo/{number}", self.pid());
        let links = self.descriptors(BPF_LINK).into_iter();
        links.map(|number| std::fs::read_to_string(info(number)).unwrap_or_default()).collect()
    }

    /// Returns the numbers of descriptors of files with these names.
    fn descriptors(&self, names: &[&str]) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).into_iter().flatten();
        let found = entries.flatten().filter(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            names.iter().any(|name| target.to_string_lossy().contains(name))
        });
        found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Waits until the process exits, and returns its status, standard output and standard error.
    ///
    /// No test takes two minutes: a process that is still running then is stuck and fails the test.
    pub fn finish(self) -> (ExitStatus, String, String) {
        self.finish_while(|_| {})
    }

    /// Like [`Process::finish`], and calls `poke` every few milliseconds.
    pub fn finish_while(
        mut self,
        mut poke: impl FnMut(&mut Process),
    ) -> (ExitStatus, String, String) {
        // Both pipes are drained while waiting: a process that blocks on a full pipe does not exit.
        let out = read_in_background(self.0.stdout.take());
        let errors = read_in_background(self.0.stderr.take());
        let end = Instant::now() + Duration::from_secs(120);
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            poke(&mut self);
            assert!(Instant::now() < end, "process {} does not exit", self.pid());
            std::thread::sleep(Duration::from_millis(2));
        };
        (status, out.join().unwrap(), errors.join().unwrap())
    }

    /// Sends SIGINT until the process exits. A signal that arrives during startup may be lost, so
    /// it is repeated.
    pub fn interrupt(self) -> (ExitStatus, String, String) {
        let mut next = Instant::now();
        self.finish_while(|process| {
            if Instant::now() >= next {
                process.signal(2);
                next = Instant::now() + Duration::from_secs(5);
            }
        })
    }

    /// Sends a signal, given its number.
    pub fn signal(&self, number: i32) {
        let status = Command::new("kill")
            .args([format!("-{number}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

/// Reads a pipe to its end on another thread.
fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).unwrap();
        }
        text(&bytes)
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
