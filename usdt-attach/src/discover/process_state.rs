//! What `/proc` says about a process that cannot be scanned, or that hits no probes.
//!
//! Everything here serves messages. An answer can be out of date when it is printed, so nothing is
//! decided by it.

use super::mounts::parse_table;
use super::process::after_name;
use crate::error::{Error, ErrorKind, Result, Warning, WarningKind};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use std::io;

/// `PF_EXITING` and `PF_KTHREAD` (`include/linux/sched.h`), which `/proc/PID/stat` shows.
const EXITING: u32 = 0x4;
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Fields of `/proc/PID/stat` and `/proc/PID/status` (proc_pid_stat(5), proc_pid_status(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    /// The state as a letter, such as `R` or `Z`.
    state: u8,
    parent: u32,
    flags: u32,
    threads: u32,
    /// The process of the thread; the id itself unless it is that of a further thread.
    thread_group: u32,
    /// The process that traces this one with ptrace(2); 0 if there is none.
    tracer: u32,
}

impl Status {
    fn read(pid: u32) -> io::Result<Status> {
        let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
        let status = std::fs::read(format!("/proc/{pid}/status"))?;
        Status::parse(&stat, &status).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(stat: &[u8], status: &[u8]) -> Option<Status> {
        let fields: Vec<&str> = std::str::from_utf8(after_name(stat)?).ok()?.split(' ').collect();
        // The kernel escapes newlines in the name, so that no name looks like another line.
        let status = String::from_utf8_lossy(status);
        let line = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok())
        };
        Some(Status {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            flags: fields.get(6)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
            thread_group: line("Tgid:")?,
            tracer: line("TracerPid:")?,
        })
    }

    /// Returns why the process cannot be scanned; `None` if it can.
    fn obstacle(self, pid: u32) -> Option<Error> {
        let not_found = |message| Error::new(ErrorKind::NotFound, message);
        let parent = self.parent;
        if self.thread_group != pid {
            let process = self.thread_group;
            return Some(
                Error::usage(format!("{pid} is the id of a thread of process {process}"))
                    .with_hint(format!("pass {process}: a process is traced with all its threads")),
            );
        }
        if self.flags & KERNEL_THREAD != 0 {
            return Some(Error::new(
                ErrorKind::NoMatch,
                format!(
                    "process {pid} is a kernel thread, which executes no file and has no probes"
                ),
            ));
        }
        match self.state {
            b'Z' if self.threads > 1 => Some(
                not_found(format!(
                    "the main thread of process {pid} has ended while others run, so /proc does not show the files of the process"
                ))
                .with_hint("trace its executable instead"),
            ),
            b'Z' => Some(not_found(format!(
                "process {pid} is a zombie: it has ended, and process {parent}, its parent, has not waited for it"
            ))),
            b'X' => Some(Error::no_process(pid)),
            _ if self.flags & EXITING != 0 => {
                Some(not_found(format!("process {pid} is ending; it maps no files any more")))
            }
            _ => None,
        }
    }

    /// Describes what keeps the process from running; `None` if it runs.
    fn stop(self, pid: u32) -> Option<String> {
        let tracer = self.tracer;
        match self.state {
            b'T' => Some(format!(
                "process {pid} is stopped by a signal and hits no probes until it gets SIGCONT"
            )),
            b't' => Some(format!(
                "process {pid} is stopped by process {tracer}, which debugs it, and hits no probes until that lets it continue"
            )),
            _ => None,
        }
    }
}

/// Returns the error for a process that does not exist, or that cannot be looked up by its id.
pub fn no_process(pid: u32) -> Error {
    if let Some(error) = unusable_proc(pid) {
        return error;
    }
    match Status::read(pid) {
        Ok(status) => status.obstacle(pid).unwrap_or_else(|| {
            let message = format!("process {pid} has ended, and another process has its id now");
            Error::new(ErrorKind::NotFound, message)
        }),
        Err(error) if is_denied(&error) => Error::process_access_denied(pid),
        Err(_) => match hidepid_option() {
            Some(option) if exists(pid) => Error::new(
                ErrorKind::Permission,
                format!("process {pid} exists, but /proc is mounted with {option} and hides it"),
            )
            .with_hint("run as root or with CAP_SYS_PTRACE"),
            _ => Error::no_process(pid),
        },
    }
}

/// Returns the error for a process whose files this process may not see.
pub(super) fn access_denied(pid: u32) -> Error {
    let obstacle = Status::read(pid).ok().and_then(|status| status.obstacle(pid));
    obstacle.unwrap_or_else(|| Error::process_access_denied(pid))
}

/// Returns the error for a process that maps no files; `None` if it has none for no known reason.
pub(super) fn no_files(pid: u32) -> Option<Error> {
    match Status::read(pid) {
        Ok(status) => status.obstacle(pid),
        Err(_) => Some(no_process(pid)),
    }
}

/// Returns a warning if the process is stopped.
pub(crate) fn stop_warning(pid: u32) -> Option<Warning> {
    let stop = Status::read(pid).ok()?.stop(pid)?;
    Some(Warning::new(WarningKind::StoppedProcess, stop))
}

/// Returns a warning if `/proc` hides processes of other users from this process.
pub(crate) fn hidden_warning() -> Option<Warning> {
    // The first process belongs to root. It is shown if this process may see all processes.
    let option = match std::fs::read("/proc/1/stat") {
        Ok(_) => return None,
        Err(_) => hidepid_option()?,
    };
    Some(Warning::new(
        WarningKind::SkippedProcess,
        format!(
            "/proc is mounted with {option} and hides processes of other users; run as root or with CAP_SYS_PTRACE to include them"
        ),
    ))
}

/// Returns the parent of a process; `None` if the process has ended.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let fields = std::str::from_utf8(after_name(&stat)?).ok()?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// Returns the ids of a process: first that in the PID namespace of `/proc`, last that in its own.
/// There is one id unless the process is in a nested namespace, such as a container, and none if it
/// has ended.
pub fn namespace_ids(pid: u32) -> Vec<u32> {
    parse_namespace_ids(&std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default())
}

fn parse_namespace_ids(status: &[u8]) -> Vec<u32> {
    let status = String::from_utf8_lossy(status);
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    ids.split_whitespace().map_while(|id| id.parse().ok()).collect()
}

fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}

/// Returns true if the kernel knows the process, whether or not `/proc` shows it.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
}

/// Returns the error if no process can be looked up by its id in `/proc`.
fn unusable_proc(pid: u32) -> Option<Error> {
    match std::fs::read_link("/proc/self") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(
            Error::unsupported("/proc is not mounted, so no process can be looked up")
                .with_hint("mount it with `mount -t proc proc /proc`"),
        ),
        Ok(own) if own.as_os_str() != getpid().to_string().as_str() => Some(other_namespace(pid)),
        _ => None,
    }
}

/// Fails if `/proc` shows another PID namespace than that of this process, so that the ids in it are
/// not those of events.
///
/// # Errors
///
/// `Unsupported`, with what to do.
pub fn check_proc() -> Result<()> {
    match std::fs::read_link("/proc/self") {
        Ok(own) if own.as_os_str() != getpid().to_string().as_str() => {
            Err(wrong_proc("processes cannot be looked up"))
        }
        _ => Ok(()),
    }
}

/// Returns the error for a `/proc` that shows another PID namespace than that of this process.
pub(crate) fn other_namespace(pid: u32) -> Error {
    wrong_proc(&format!("process {pid} cannot be looked up"))
}

fn wrong_proc(what: &str) -> Error {
    Error::unsupported(format!(
        "{what}: /proc shows another PID namespace than that of this process"
    ))
    .with_hint("mount the /proc of this PID namespace, as `unshare --mount-proc` does")
}

/// Returns the option of the mount at `/proc` that hides processes, such as `hidepid=invisible`.
fn hidepid_option() -> Option<String> {
    parse_hidepid(&std::fs::read("/proc/self/mountinfo").ok()?)
}

/// Finds the option in `/proc/PID/mountinfo` (proc_pid_mountinfo(5)). Of several mounts at one
/// place, the last one is seen.
fn parse_hidepid(mountinfo: &[u8]) -> Option<String> {
    let line = parse_table(mountinfo).rfind(|line| line.point == b"/proc")?;
    let options = std::str::from_utf8(line.options).ok()?;
    let option = options.split(',').find(|option| option.starts_with("hidepid="))?;
    (!matches!(option, "hidepid=off" | "hidepid=0")).then(|| option.to_owned())
}

/// Parses bytes as each of the files of this module.
#[cfg(fuzzing)]
pub(super) fn parse(bytes: &[u8]) {
    if let Some(status) = Status::parse(bytes, bytes) {
        status.obstacle(1);
    }
    parse_namespace_ids(bytes);
    parse_hidepid(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAT: &[u8] = b"42 (a) Z (b) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 900 1 2 3";
    const STATUS: &[u8] = b"Name:\ta\nState:\tS (sleeping)\nTgid:\t42\nPid:\t42\nTracerPid:\t0\n";

    fn status(state: u8) -> Status {
        Status { state, parent: 7, flags: 0, threads: 1, thread_group: 42, tracer: 9 }
    }

    #[test]
    fn parses_a_name_with_parentheses() {
        let expected = Status {
            state: b'S',
            parent: 7,
            flags: 4_194_560,
            threads: 3,
            thread_group: 42,
            tracer: 0,
        };
        assert_eq!(Status::parse(STAT, STATUS), Some(expected));
        assert_eq!(Status::parse(b"42 (a", STATUS), None);
        assert_eq!(Status::parse(STAT, b"Name:\ta\n"), None);
    }

    #[test]
    fn names_what_keeps_a_process_from_being_scanned() {
        let message = |status: Status| format!("{:#}", status.obstacle(42).unwrap());
        assert!(message(status(b'Z')).contains("zombie: it has ended, and process 7"));
        assert!(message(Status { threads: 2, ..status(b'Z') }).contains("main thread"));
        assert!(message(Status { flags: EXITING, ..status(b'R') }).contains("is ending"));
        assert!(message(Status { flags: KERNEL_THREAD, ..status(b'S') }).contains("kernel thread"));
        let thread = message(Status { thread_group: 40, ..status(b'S') });
        assert!(thread.contains("a thread of process 40; pass 40"), "{thread}");
        assert!(status(b'R').obstacle(42).is_none());
    }

    #[test]
    fn names_what_stops_a_process() {
        assert!(status(b'T').stop(42).unwrap().contains("SIGCONT"));
        assert!(status(b't').stop(42).unwrap().contains("by process 9, which debugs it"));
        assert_eq!(status(b'S').stop(42), None);
    }

    #[test]
    fn reads_the_ids_of_every_namespace() {
        assert_eq!(parse_namespace_ids(b"Name:\tNSpid: 1\nNSpid:\t1234\t7\nTgid:\t1\n"), [1234, 7]);
        assert_eq!(parse_namespace_ids(b"NSpid:\t1234\tx\n"), [1234]);
        assert!(parse_namespace_ids(b"").is_empty());
        assert_eq!(namespace_ids(std::process::id()).first(), Some(&std::process::id()));
    }

    proptest! {
        #[test]
        fn reads_any_list_of_ids(ids in proptest::collection::vec(0u32.., 1..33), tail: Vec<u8>) {
            let list: Vec<String> = ids.iter().map(u32::to_string).collect();
            let status = [format!("NSpid:\t{}\n", list.join("\t")).into_bytes(), tail].concat();
            prop_assert_eq!(parse_namespace_ids(&status), ids);
        }

        #[test]
        fn never_panics_on_a_status(status: Vec<u8>) {
            parse_namespace_ids(&status);
        }
    }

    #[test]
    fn finds_the_option_that_hides_processes() {
        let mount = |place: &str, options: &str| {
            format!("23 28 0:21 / {place} rw,nosuid shared:5 - proc proc {options}\n")
        };
        let hidden = mount("/proc", "rw,hidepid=invisible");
        assert_eq!(parse_hidepid(hidden.as_bytes()).as_deref(), Some("hidepid=invisible"));
        assert_eq!(parse_hidepid((hidden.clone() + &mount("/proc", "rw")).as_bytes()), None);
        assert_eq!(parse_hidepid(mount("/proc", "rw,hidepid=0").as_bytes()), None);
        assert_eq!(parse_hidepid(mount("/chroot/proc", "rw,hidepid=2").as_bytes()), None);
        assert_eq!(parse_hidepid(b"damaged"), None);
    }

    #[test]
    fn explains_nothing_about_a_running_process() {
        let own = std::process::id();
        assert!(no_files(own).is_none());
        assert!(exists(own));
        assert_eq!(
            no_process(u32::MAX - 1).to_string(),
            "no process 4294967294; it may have ended"
        );
    }
}
