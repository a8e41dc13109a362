//! Processes that are forked, and can be attached to, before they execute their program.
//!
//! # Death of the tracer
//!
//! The process may be stopped while the tracer attaches to its libraries. If the tracer is killed
//! then, nobody continues it but the kernel, with the signal for the death of the parent
//! (`PR_SET_PDEATHSIG`): SIGCONT, which has no effect on a process that is not stopped. The parent is
//! the thread that has forked, so that thread lives as long as the process.
#![allow(unsafe_code)] // code between fork and exec; see `PendingChild::create`

use crate::error::{Error, Result};
use crate::kernel::descriptors::inherited_limit;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};

/// The process of a [`Target::Command`](super::Target::Command), which waits before it executes its
/// program.
///
/// Dropping it without [`PendingChild::run`] makes the process exit without executing the program.
#[derive(Debug)]
pub struct PendingChild {
    pid: u32,
    path: PathBuf,
    /// The write end of the pipe that the child reads from. A byte lets it continue; closing the
    /// pipe makes it exit.
    gate: Option<OwnedFd>,
    spawned: Receiver<io::Result<Child>>,
}

impl PendingChild {
    /// Forks. The child reports its process id and waits before `exec`. A thread of this process
    /// waits for it in [`Command::spawn`], which returns only after the `exec`.
    ///
    /// # Errors
    ///
    /// Fails when no process can be created.
    pub(crate) fn create(path: &Path, name: &OsStr, args: &[OsString]) -> Result<PendingChild> {
        let failed = |source: io::Error| Error::spawn(path, source);
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()));
        let ((pid_reader, pid_writer), (gate_reader, gate_writer)) = (pipe()?, pipe()?);
        let mut command = Command::new(path);
        command.arg0(name).args(args);
        let limit = inherited_limit().map(|limit| libc::rlimit {
            rlim_cur: limit.current.unwrap_or(libc::RLIM_INFINITY),
            rlim_max: limit.maximum.unwrap_or(libc::RLIM_INFINITY),
        });
        let (writer, reader, inherited_gate) =
            (pid_writer.as_raw_fd(), gate_reader.as_raw_fd(), gate_writer.as_raw_fd());
        // SAFETY: between fork and exec, only async-signal-safe calls are made: getpid, write, read,
        // close, prctl and setrlimit, which are plain system calls. The descriptors stay open in the parent until `spawn` has returned or failed,
        // so the child has them.
        unsafe {
            command.pre_exec(move || {
                // While the child holds the write end itself, its read would never see the pipe
                // close.
                libc::close(inherited_gate);
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT) != 0 {
                    return Err(io::Error::last_os_error());
                }
                let pid = (libc::getpid() as u32).to_ne_bytes();
                if libc::write(writer, pid.as_ptr().cast(), pid.len()) != pid.len() as isize {
                    return Err(io::Error::last_os_error());
                }
                let mut go = 0u8;
                if libc::read(reader, (&raw mut go).cast(), 1) != 1 {
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
                if let Some(limit) = &limit
                    && libc::setrlimit(libc::RLIMIT_NOFILE, limit) != 0
                {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        // `spawn` blocks until the gate opens, so it needs a thread.
        let (sender, spawned) = channel();
        std::thread::spawn(move || {
            let child = command.spawn();
            drop((pid_writer, gate_reader));
            let pid = child.as_ref().ok().map(Child::id);
            // Fails if the caller does not wait for the child.
            let _ = sender.send(child);
            pid.into_iter().for_each(wait_for_end);
        });
        let mut pid = [0; 4];
        let mut reader = std::fs::File::from(pid_reader);
        if let Err(source) = reader.read_exact(&mut pid) {
            // The child has not reported an id, so the fork has failed. `spawn` returns the reason.
            drop(gate_writer);
            return Err(failed(match spawned.recv() {
                Ok(Err(error)) => error,
                _ => source,
            }));
        }
        Ok(PendingChild {
            pid: u32::from_ne_bytes(pid),
            path: path.to_owned(),
            gate: Some(gate_writer),
            spawned,
        })
    }

    /// The process id, which stays the same after [`PendingChild::run`].
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the process execute its program. The caller must wait for the returned process.
    ///
    /// # Errors
    ///
    /// Fails when the program cannot be executed.
    pub fn run(mut self) -> Result<Child> {
        let failed = |source: io::Error| Error::spawn(self.path.clone(), source);
        if let Some(gate) = self.gate.take() {
            std::fs::File::from(gate).write_all(&[1]).map_err(failed)?;
        }
        match self.spawned.recv() {
            Ok(child) => child.map_err(failed),
            Err(_) => Err(failed(io::Error::other("the thread that spawns it has panicked"))),
        }
    }
}

impl Drop for PendingChild {
    fn drop(&mut self) {
        if self.gate.take().is_some() {
            // The closed gate makes the child exit before `exec`. `spawn` reaps it and fails.
            let _ = self.spawned.recv();
        }
    }
}

/// Waits until a child has exited, and leaves its status to the caller of [`PendingChild::run`].
fn wait_for_end(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
}
