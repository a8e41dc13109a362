//! Processes held by a pidfd, so that a reused process id never refers to another process.

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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
    /// process.
    pub fn open(pid: u32) -> Result<ProcessHandle> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Error::no_process(pid))?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| match error {
            // The kernel returns EINVAL for the id of a thread that is not a thread group leader.
            rustix::io::Errno::SRCH | rustix::io::Errno::INVAL => Error::no_process(pid),
            error => Error::kernel(format!("cannot open process {pid}"), error.into()),
        })?;
        Ok(ProcessHandle { pid, pidfd: Arc::new(pidfd) })
    }

    /// Wraps a pidfd, such as one from `clone3` or `SO_PEERPIDFD`.
    ///
    /// # Errors
    ///
    /// Fails when the descriptor is not a pidfd, and when its process has exited or is not visible
    /// in this PID namespace.
    pub fn from_pidfd(pidfd: OwnedFd) -> Result<ProcessHandle> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))
            .map_err(|source| Error::io("cannot read the fdinfo of the pidfd", source))?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
        // The kernel reports -1 if the process has exited, and 0 if it is in another namespace.
        let pid = pid.and_then(|pid| pid.trim().parse::<u32>().ok()).filter(|pid| *pid != 0);
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
}

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
        child.wait().unwrap();
        assert!(!handle.is_alive());
        assert!(ProcessHandle::open(child.id()).is_err());
    }

    #[test]
    fn rejects_a_descriptor_that_is_not_a_pidfd() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(ProcessHandle::from_pidfd(file.into()).is_err());
    }
}
