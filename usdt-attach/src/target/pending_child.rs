//! Processes that are forked, and can be attached to, before they execute their program.
#![allow(unsafe_code)] // code between fork and exec; see `PendingChild::create`

use crate::error::{Error, Result};
use crate::kernel::descriptors::inherited_limit;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::JoinHandle;

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
    spawner: Option<JoinHandle<io::Result<Child>>>,
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
        // close and setrlimit, which is a plain system call. The descriptors stay open in the parent until `spawn` has returned or failed,
        // so the child has them.
        unsafe {
            command.pre_exec(move || {
                // While the child holds the write end itself, its read would never see the pipe
                // close.
                libc::close(inherited_gate);
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
        let spawner = std::thread::spawn(move || {
            let child = command.spawn();
            drop((pid_writer, gate_reader));
            child
        });
        let mut pid = [0; 4];
        let mut reader = std::fs::File::from(pid_reader);
        if let Err(source) = reader.read_exact(&mut pid) {
            // The child has not reported an id, so the fork has failed. `spawn` returns the reason.
            drop(gate_writer);
            return Err(failed(match spawner.join() {
                Ok(Err(error)) => error,
                _ => source,
            }));
        }
        Ok(PendingChild {
            pid: u32::from_ne_bytes(pid),
            path: path.to_owned(),
            gate: Some(gate_writer),
            spawner: Some(spawner),
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
        match self.spawner.take().map(JoinHandle::join) {
            Some(Ok(child)) => child.map_err(failed),
            _ => Err(failed(io::Error::other("the thread that spawns it has panicked"))),
        }
    }
}

impl Drop for PendingChild {
    fn drop(&mut self) {
        drop(self.gate.take());
        if let Some(spawner) = self.spawner.take() {
            // The closed gate makes the child exit before `exec`. `spawn` reaps it and fails.
            let _ = spawner.join();
        }
    }
}
