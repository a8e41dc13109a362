//! Processes held by a pidfd, so that a reused process id never refers to another process.

use crate::discover::process::fdinfo_number;
use crate::discover::{no_process, process_state};
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A process, held by a pidfd. The descriptor ([`AsFd`]) becomes readable when the process exits.
///
/// Clones share the descriptor.
///
/// ```
/// use usdt_attach::{ProcessHandle, Target};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let process = ProcessHandle::open(std::process::id())?;
/// assert!(process.is_alive());
/// let target = Target::Processes(vec![process]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ProcessHandle {
    pid: u32,
    pidfd: Arc<OwnedFd>,
}

impl ProcessHandle {
    /// Opens the process that has this id now.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.3.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when there is no such
    /// process, and when it is a zombie. Also fails when the id is that of a thread, and when `/proc`
    /// does not show this process or shows another PID namespace.
    pub fn open(pid: u32) -> Result<ProcessHandle> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Error::no_process(pid))?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| match error {
            // The id of a thread that is not the leader of its thread group: EINVAL, and since
            // Linux 6.15 ENOENT.
            Errno::SRCH | Errno::INVAL | Errno::NOENT => no_process(pid),
            error => Error::kernel(format!("cannot open process {pid}"), error.into()),
        })?;
        let process = ProcessHandle { pid, pidfd: Arc::new(pidfd) };
        if !process.is_alive() {
            return Err(no_process(pid));
        }
        match process.id_in_proc() {
            Ok(Some(shown)) if shown == i64::from(pid) => Ok(process),
            // It has ended in between.
            Ok(Some(-1) | None) => Err(no_process(pid)),
            Ok(Some(_)) => Err(process_state::other_namespace(pid)),
            Err(source) => match Error::open("/proc/self/fdinfo", source) {
                error if error.is_resource_limit() => Err(error),
                _ => Err(no_process(pid)),
            },
        }
    }

    /// Wraps a pidfd, such as one from `clone3` or `SO_PEERPIDFD`.
    ///
    /// # Errors
    ///
    /// Fails when the descriptor is not a pidfd, and when its process has exited or is not visible
    /// in this PID namespace.
    pub fn from_pidfd(pidfd: OwnedFd) -> Result<ProcessHandle> {
        let pid = fdinfo_number::<i64>(&pidfd, PID)
            .map_err(|source| Error::io("cannot read the fdinfo of the pidfd", source))?;
        let pid = pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let pid =
            pid.ok_or_else(|| Error::usage("the descriptor is not a pidfd of a running process"))?;
        Ok(ProcessHandle { pid, pidfd: Arc::new(pidfd) })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// True until the process exits. A zombie is not alive.
    pub fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&*self.pidfd, PollFlags::IN)];
        let no_wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&no_wait)), Ok(0))
    }

    /// True while no other process can have the id: until the process has exited and its parent has
    /// waited for it.
    ///
    /// What was done by id is known to have reached this process if this is true afterwards.
    pub fn owns_id(&self) -> bool {
        self.is_alive() || self.id_in_proc().is_ok_and(|id| id == Some(i64::from(self.pid)))
    }

    /// True if another process or thread has the id now.
    ///
    /// If this is false afterwards, what was done by id has reached this process or none: ids come
    /// round again only after all others were used.
    pub(crate) fn has_lost_id(&self) -> bool {
        !self.owns_id() && process_state::exists(self.pid)
    }

    /// The id as `/proc` shows it: -1 if another process can have it, and 0 if the process is not
    /// in the PID namespace of `/proc`.
    fn id_in_proc(&self) -> io::Result<Option<i64>> {
        fdinfo_number(self, PID)
    }
}

/// The field of `/proc/PID/fdinfo` with the process id of a pidfd, in the PID namespace of `/proc`.
const PID: &str = "Pid";

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn reports_that_its_process_has_exited() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let handle = ProcessHandle::open(child.id()).unwrap();
        let duplicate =
            ProcessHandle::from_pidfd(handle.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((duplicate.pid(), duplicate.is_alive()), (child.id(), true));
        child.kill().unwrap();
        while handle.is_alive() {
            std::thread::yield_now();
        }
        assert!(handle.owns_id(), "a zombie keeps its id");
        let zombie = ProcessHandle::open(child.id()).unwrap_err();
        assert!(zombie.to_string().contains("is a zombie"), "{zombie}");
        child.wait().unwrap();
        assert!(!handle.is_alive());
        assert!(!handle.owns_id());
        assert!(!handle.has_lost_id(), "no process has the id");
        let reused = ProcessHandle { pid: std::process::id(), ..handle };
        assert!(reused.has_lost_id());
        assert!(ProcessHandle::open(child.id()).is_err());
    }

    #[test]
    fn names_the_process_of_a_thread() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let id = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
            sender.send((id, ProcessHandle::open(id))).unwrap();
        });
        let (id, result) = receiver.recv().unwrap();
        thread.join().unwrap();
        let expected = format!("{id} is the id of a thread of process {}", std::process::id());
        assert_eq!(result.unwrap_err().to_string(), expected);
    }

    #[test]
    fn rejects_a_descriptor_that_is_not_a_pidfd() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(ProcessHandle::from_pidfd(file.into()).is_err());
    }
}
