//! The owners of all processes that have been seen, so that their numbers have an owner after they
//! have ended.

use crate::owner::{Owner, clean, container_id, service_in_environ};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use usdt_attach::discover::environment_answers;
use usdt_attach::target::process_name::executable_name;

/// The number of owners. Numbers of further ones are those of the service `other`.
const MAX_OWNERS: usize = 200;
/// How long the numbers of a container are exported after its last process has ended: longer than
/// Prometheus looks back (5 minutes), so that it sees the last values.
const KEEP_CONTAINER: Duration = Duration::from_secs(600);
/// The number of processes whose owners are kept.
const MAX_PROCESSES: usize = 1 << 16;

/// A process that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    /// When it started, in clock ticks since the machine did: distinguishes it from others that get
    /// its id later.
    started: u64,
    /// The name of its executable, which changes if it executes another one.
    executable: Option<OsString>,
}

/// A process that was seen.
#[derive(Debug)]
struct Process {
    stamp: Stamp,
    owner: Arc<Owner>,
    /// The owner before the process executed another program, or before another process got its id,
    /// until the rows that it has in the kernel are taken.
    previous: Option<Arc<Owner>>,
    /// The round in which it was looked at last.
    round: u64,
    /// The last round in which another process was found to have had its id.
    taken_over_in: Option<u64>,
    /// Whether it runs, as of the last look.
    runs: bool,
    /// Whether it had ended at the last clean-up.
    has_ended: bool,
}

/// The owners of processes.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    processes: HashMap<u32, Process>,
    /// All owners, with the time at which a process of theirs was last seen.
    known: HashMap<Arc<Owner>, Instant>,
    environs: EnvironReader,
    round: u64,
    round_began: Option<Instant>,
    has_overflowed: bool,
    messages: Vec<String>,
}

impl Owners {
    /// Begins a round: each process is looked at once in a round.
    pub(crate) fn begin_round(&mut self) {
        self.round += 1;
        self.round_began = Some(Instant::now());
    }

    /// Begins a round unless the last one has just begun. Spans come every few milliseconds, and no
    /// process id is used again as soon as that.
    pub(crate) fn begin_round_for_spans(&mut self) {
        const INTERVAL: Duration = Duration::from_millis(100);
        if self.round_began.is_none_or(|began| began.elapsed() >= INTERVAL) {
            self.begin_round();
        }
    }

    /// Returns the owner of a process. That of a process which has ended is the one that it had; if
    /// it was never seen, it is `fallback`.
    pub(crate) fn owner(&mut self, pid: u32, fallback: &Arc<Owner>) -> Arc<Owner> {
        self.look_at(pid);
        match self.processes.get(&pid) {
            Some(process) => Arc::clone(&process.owner),
            None => self.limited(fallback),
        }
    }

    /// As [`Owners::owner`], with a fallback that is computed only if it is needed.
    pub(crate) fn owner_or_else(
        &mut self,
        pid: u32,
        fallback: impl FnOnce() -> Arc<Owner>,
    ) -> Arc<Owner> {
        self.look_at(pid);
        match self.processes.get(&pid) {
            Some(process) => Arc::clone(&process.owner),
            None => self.limited(&fallback()),
        }
    }

    /// Returns the owner that a process had before its owner changed; `None` if it has not changed
    /// since the last call of [`Owners::forget_previous`].
    pub(crate) fn previous_owner(&mut self, pid: u32) -> Option<Arc<Owner>> {
        self.look_at(pid);
        self.processes.get(&pid)?.previous.clone()
    }

    /// Notes that the rows of previous owners have been taken from the kernel.
    pub(crate) fn forget_previous(&mut self) {
        self.processes.values_mut().for_each(|process| process.previous = None);
    }

    /// Returns true if the process whose owner is known has ended, even if another one has its id.
    pub(crate) fn has_ended(&mut self, pid: u32) -> bool {
        self.look_at(pid);
        match self.processes.get(&pid) {
            Some(process) => !process.runs || process.taken_over_in == Some(self.round),
            None => start_time(pid).is_none(),
        }
    }

    /// Forgets processes that had ended at the last call, except for those to keep: until then, rows
    /// of theirs may come. Returns the containers whose numbers are not exported any more.
    pub(crate) fn clean_up(&mut self, kept: &[u32]) -> HashSet<Arc<Owner>> {
        let now = Instant::now();
        let all: Vec<u32> = self.processes.keys().copied().collect();
        let (ended, running): (Vec<u32>, Vec<u32>) =
            all.into_iter().partition(|pid| self.has_ended(*pid));
        for process in running.iter().filter_map(|pid| self.processes.get(pid)) {
            if let Some(seen) = self.known.get_mut(&process.owner) {
                *seen = now;
            }
        }
        for pid in ended.into_iter().filter(|pid| !kept.contains(pid)) {
            let process = self.processes.get_mut(&pid);
            if process.is_some_and(|process| std::mem::replace(&mut process.has_ended, true)) {
                self.processes.remove(&pid);
            }
        }
        let is_over = |owner: &Owner, seen: &Instant| {
            owner.container.is_some() && now.duration_since(*seen) >= KEEP_CONTAINER
        };
        let over = self.known.iter().filter(|(owner, seen)| is_over(owner, seen));
        let over: HashSet<Arc<Owner>> = over.map(|(owner, _)| Arc::clone(owner)).collect();
        self.known.retain(|owner, _| !over.contains(owner));
        over
    }

    /// Returns the messages for the user since the last call.
    pub(crate) fn take_messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }

    fn look_at(&mut self, pid: u32) {
        let known = self.processes.get(&pid);
        if known.is_some_and(|process| process.round == self.round) {
            return;
        }
        let stamp =
            start_time(pid).map(|started| Stamp { started, executable: executable_name(pid) });
        let round = self.round;
        match (self.processes.get_mut(&pid), stamp) {
            // A zombie has no executable.
            (Some(process), Some(stamp))
                if process.stamp == stamp
                    || process.stamp.started == stamp.started && stamp.executable.is_none() =>
            {
                process.round = round;
            }
            (Some(process), None) => (process.round, process.runs) = (round, false),
            (None, None) => {}
            (_, Some(stamp)) => {
                let Some(owner) = self.read(pid, &stamp) else { return };
                if self.processes.len() >= MAX_PROCESSES {
                    self.processes.clear();
                }
                let last = self.processes.remove(&pid);
                let is_other = |last: &Process| last.stamp.started != stamp.started;
                let taken_over_in = last.as_ref().is_some_and(is_other).then_some(round);
                let previous = last.and_then(|last| {
                    last.previous.or_else(|| (last.owner != owner).then_some(last.owner))
                });
                let process = Process {
                    stamp,
                    owner,
                    previous,
                    round,
                    taken_over_in,
                    runs: true,
                    has_ended: false,
                };
                self.processes.insert(pid, process);
            }
        }
    }

    /// Reads the owner of a process; `None` if it has no executable, as a zombie, or if it is a fork
    /// of this process that has not executed its command yet.
    fn read(&mut self, pid: u32, stamp: &Stamp) -> Option<Arc<Owner>> {
        let executable = stamp.executable.as_ref()?;
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        if link(&pid.to_string()) == link("self") {
            return None;
        }
        let service = self.environs.service(pid, &mut self.messages);
        let service = service.or_else(|| clean(executable.as_encoded_bytes()))?;
        let container = read_limited(format!("/proc/{pid}/cgroup").as_ref(), MAX_CGROUP)
            .ok()
            .and_then(|cgroup| container_id(&String::from_utf8_lossy(&cgroup)));
        Some(self.limited(&Arc::new(Owner { service, container })))
    }

    /// Returns the owner, or the one that stands for all others if there are too many.
    fn limited(&mut self, owner: &Arc<Owner>) -> Arc<Owner> {
        if let Some((known, _)) = self.known.get_key_value(owner) {
            return Arc::clone(known);
        }
        if self.known.len() < MAX_OWNERS {
            self.known.insert(Arc::clone(owner), Instant::now());
            return Arc::clone(owner);
        }
        if !std::mem::replace(&mut self.has_overflowed, true) {
            self.messages.push(format!(
                "there are more than {MAX_OWNERS} services and containers: the numbers of further ones have the service `{}`",
                crate::owner::OTHER
            ));
        }
        Owner::other()
    }
}

/// The number of bytes that are read of the cgroups of a process.
const MAX_CGROUP: u64 = 1 << 16;
/// The number of bytes that are read of the environment of a process.
const MAX_ENVIRON: u64 = 1 << 18;

fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut out)?;
    Ok(out)
}

/// Returns the start time of a process in clock ticks; `None` if it has ended. A process whose main
/// thread has ended while others run has not.
fn start_time(pid: u32) -> Option<u64> {
    // More than the line has, so that one call reads it.
    let mut stat = [0; 1024];
    let len = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut stat).ok()?;
    parse_start_time(stat.get(..len)?)
}

/// Parses `/proc/PID/stat` (proc_pid_stat(5)).
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    // The name in parentheses may contain any character.
    let fields = stat.get(stat.iter().rposition(|b| *b == b')')? + 2..)?;
    let fields: Vec<&str> = std::str::from_utf8(fields).ok()?.split(' ').collect();
    let (state, threads) = (*fields.first()?, fields.get(17)?.parse::<u32>().ok()?);
    if matches!(state, "X" | "x") || state == "Z" && threads <= 1 {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Reads environments, on a thread of its own.
///
/// The environment is memory of the process, which can make the kernel wait for a page of it as long
/// as it likes (userfaultfd, FUSE). A read that takes too long is given up with its thread; after a
/// few of them, no environment is read any more.
#[derive(Debug)]
struct EnvironReader {
    /// The folder with a folder for each process: `/proc`.
    proc: PathBuf,
    worker: Option<Worker>,
    /// The number of threads that were given up.
    stuck: usize,
}

#[derive(Debug)]
struct Worker {
    pids: Sender<u32>,
    services: Receiver<Option<String>>,
}

impl Default for EnvironReader {
    fn default() -> EnvironReader {
        EnvironReader { proc: PathBuf::from("/proc"), worker: None, stuck: 0 }
    }
}

impl EnvironReader {
    const TIMEOUT: Duration = Duration::from_millis(200);
    const MAX_STUCK: usize = 4;

    /// Returns the name of the service in the environment of a process.
    fn service(&mut self, pid: u32, messages: &mut Vec<String>) -> Option<String> {
        if self.stuck >= Self::MAX_STUCK {
            return None;
        }
        if self.worker.is_none() {
            self.worker = Worker::start(self.proc.clone());
        }
        let worker = self.worker.as_ref()?;
        worker.pids.send(pid).ok()?;
        if let Ok(service) = worker.services.recv_timeout(Self::TIMEOUT) {
            return service;
        }
        self.worker = None;
        self.stuck += 1;
        let rest = if self.stuck == Self::MAX_STUCK { "; no further ones are read" } else { "" };
        messages.push(format!(
            "the environment of process {pid} cannot be read in time, so its service has the name of its executable{rest}"
        ));
        None
    }
}

impl Worker {
    /// Starts the thread; `None` if there are no resources for it.
    fn start(proc: PathBuf) -> Option<Worker> {
        let (pids, requests) = channel();
        let (answers, services) = channel();
        let read = move || {
            for pid in requests {
                let path = proc.join(format!("{pid}/environ"));
                // A thread that waits for a file system would keep this process from ending.
                let environ =
                    environment_answers(&proc, pid).then(|| read_limited(&path, MAX_ENVIRON));
                let service =
                    environ.and_then(Result::ok).and_then(|environ| service_in_environ(&environ));
                if answers.send(service).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("environ".to_owned()).spawn(read).ok()?;
        Some(Worker { pids, services })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn fallback() -> Arc<Owner> {
        Owner::of_file("/bin/fallback".as_ref())
    }

    #[test]
    fn names_a_process_by_its_environment_and_its_executable() {
        let mut owners = Owners::default();
        let mut named =
            Command::new("sleep").arg("60").env("OTEL_SERVICE_NAME", "shop").spawn().unwrap();
        let mut plain =
            Command::new("sleep").arg("60").env_remove("OTEL_SERVICE_NAME").spawn().unwrap();
        [&named, &plain].into_iter().for_each(|child| wait_for_program(child.id(), "sleep"));
        let services = [&named, &plain].map(|child| owners.owner(child.id(), &fallback()));
        named.kill().unwrap();
        named.wait().unwrap();
        owners.begin_round();
        let after = owners.owner(named.id(), &fallback());
        let (has_ended, runs) = (owners.has_ended(named.id()), !owners.has_ended(plain.id()));
        plain.kill().unwrap();
        plain.wait().unwrap();
        assert_eq!(services.each_ref().map(|owner| owner.service.as_str()), ["shop", "sleep"]);
        assert_eq!(after.service, "shop", "an ended process keeps its owner");
        assert!(has_ended && runs);
        assert_eq!(owners.clean_up(&[]), HashSet::new());
        assert_eq!(owners.owner(named.id(), &fallback()).service, "shop");
        owners.clean_up(&[]);
        assert_eq!(owners.owner(named.id(), &fallback()).service, "fallback");
    }

    /// Waits until a process runs a program of this name.
    fn wait_for_program(pid: u32, program: &str) {
        while executable_name(pid).is_none_or(|name| name != program) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn reads_the_owner_again_if_another_process_has_the_id() {
        let mut owners = Owners::default();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        wait_for_program(pid, "sleep");
        let real = owners.owner(pid, &fallback());
        let process = owners.processes.get_mut(&pid).unwrap();
        process.stamp.started += 1;
        process.owner = fallback();
        owners.begin_round();
        let has_ended = owners.has_ended(pid);
        let next = owners.owner(pid, &fallback());
        let previous = owners.previous_owner(pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended);
        assert_eq!((previous, next), (Some(fallback()), real));
        let own = owners.owner(std::process::id(), &fallback());
        assert_eq!(own.service, "fallback", "a fork that has not executed its command");
    }

    #[test]
    fn a_process_that_executes_another_program_has_a_previous_owner() {
        let mut owners = Owners::default();
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec sleep 60"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        wait_for_program(pid, shell.file_name().unwrap().to_str().unwrap());
        let first = owners.owner(pid, &fallback());
        assert_eq!(owners.previous_owner(pid), None);
        drop(child.stdin.take());
        wait_for_program(pid, "sleep");
        assert_eq!(owners.owner(pid, &fallback()), first, "it is looked at once in a round");
        owners.begin_round();
        let next = owners.owner(pid, &fallback());
        let previous = owners.previous_owner(pid);
        owners.begin_round();
        let still = owners.previous_owner(pid);
        owners.forget_previous();
        let after = owners.previous_owner(pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(next.service, "sleep");
        assert_eq!((previous, still, after), (Some(first.clone()), Some(first), None));
    }

    #[test]
    fn owners_beyond_the_limit_are_one() {
        let mut owners = Owners::default();
        let numbered = |n: usize| Owner::of_file(format!("/bin/app{n}").as_ref());
        let of = |owners: &mut Owners, n| owners.owner(u32::MAX - 1, &numbered(n)).service.clone();
        for n in 0..MAX_OWNERS {
            assert_eq!(of(&mut owners, n), format!("app{n}"));
        }
        assert_eq!(of(&mut owners, MAX_OWNERS), "other");
        assert_eq!(of(&mut owners, MAX_OWNERS + 1), "other");
        assert_eq!(of(&mut owners, 0), "app0");
        assert_eq!(owners.take_messages().len(), 1, "it is said once");
    }

    #[test]
    fn gives_up_environments_that_do_not_answer() {
        let proc = tempfile::tempdir().unwrap();
        let environ = |pid: u32| proc.path().join(format!("{pid}/environ"));
        for pid in 1..8 {
            std::fs::create_dir(proc.path().join(pid.to_string())).unwrap();
            if pid == 2 || pid == 7 {
                std::fs::write(environ(pid), "OTEL_SERVICE_NAME=shop").unwrap();
            } else {
                // Opening a pipe without a writer blocks.
                let status = Command::new("mkfifo").arg(environ(pid)).status().unwrap();
                assert!(status.success());
            }
        }
        let mut reader = EnvironReader { proc: proc.path().to_owned(), ..EnvironReader::default() };
        let mut messages = Vec::new();
        let services: Vec<Option<String>> =
            (1..8).map(|pid| reader.service(pid, &mut messages)).collect();
        let shop = Some("shop".to_owned());
        assert_eq!(services, [None, shop, None, None, None, None, None]);
        assert_eq!(messages.len(), EnvironReader::MAX_STUCK, "{messages:?}");
        assert!(messages[3].ends_with("; no further ones are read"), "{messages:?}");
        // Ends the threads.
        for pid in [1, 3, 4, 5] {
            drop(std::fs::OpenOptions::new().read(true).write(true).open(environ(pid)));
        }
    }

    #[test]
    fn a_process_runs_until_its_last_thread_has_ended() {
        let stat = |state: &str, threads: u32| {
            let fields = "1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0";
            format!("42 (a) Z (b)) {state} {fields} {threads} 0 777 1 2")
        };
        assert_eq!(parse_start_time(stat("S", 1).as_bytes()), Some(777));
        assert_eq!(parse_start_time(stat("Z", 3).as_bytes()), Some(777));
        assert_eq!(parse_start_time(stat("Z", 1).as_bytes()), None);
        assert_eq!(parse_start_time(b"42 (a"), None);
        assert_eq!(parse_start_time(b"42 (a)"), None);
    }
}
