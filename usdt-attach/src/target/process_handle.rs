//! A process by its pidfd, so that a reused process id is never mistaken for it.

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A process, held by a pidfd (Linux 5.3). The descriptor becomes readable when the process has ended.
#[derive(Clone, Debug)]
pub struct ProcessHandle {
    pid: u32,
    pidfd: Arc<OwnedFd>,
}

impl ProcessHandle {
    /// Opens the process that has this id now.
    ///
    /// # Errors
    ///
    /// Fails when there is no such process.
    pub fn open(pid: u32) -> Result<ProcessHandle> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Error::no_process(pid))?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| match error {
            // A thread that is not the first of its process is none to the kernel, either (EINVAL).
            rustix::io::Errno::SRCH | rustix::io::Errno::INVAL => Error::no_process(pid),
            error => Error::kernel(format!("cannot hold process {pid}"), error.into()),
        })?;
        Ok(ProcessHandle { pid, pidfd: Arc::new(pidfd) })
    }

    /// Takes ownership of a pidfd.
    ///
    /// # Errors
    ///
    /// Fails when the descriptor is not a pidfd, its process has ended, or the process is not in this PID namespace.
    pub fn from_pidfd(pidfd: OwnedFd) -> Result<ProcessHandle> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
        let info = info.map_err(|source| Error::io("cannot read about the pidfd", source))?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
        // -1 once the process has ended, 0 in another namespace.
        let pid = pid.and_then(|text| text.trim().parse::<u32>().ok()).filter(|pid| *pid != 0);
        let pid =
            pid.ok_or_else(|| Error::usage("the descriptor is no pidfd of a running process"))?;
        Ok(ProcessHandle { pid, pidfd: Arc::new(pidfd) })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process is running. A zombie is not.
    pub fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&*self.pidfd, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&now)), Ok(0))
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
    fn notices_that_its_process_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let handle = ProcessHandle::open(child.id()).unwrap();
        let same = ProcessHandle::from_pidfd(handle.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((same.pid(), same.is_alive()), (child.id(), true));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!handle.is_alive());
        assert!(ProcessHandle::open(child.id()).is_err());
    }

    #[test]
    fn rejects_a_descriptor_that_is_no_pidfd() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(ProcessHandle::from_pidfd(file.into()).is_err());
    }
}
