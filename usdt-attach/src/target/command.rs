//! A command whose process is created, and can be attached to, before its program starts.
#![allow(unsafe_code)] // code between fork and exec; see `Child::create`

use crate::error::{Error, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

/// A created process, held before its program starts. Dropping it without [`Child::run`] ends it before it has run anything.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    path: PathBuf,
    /// Written to, lets the child go on; closed, ends it.
    gate: Option<OwnedFd>,
    spawner: Option<JoinHandle<io::Result<std::process::Child>>>,
}

impl Child {
    /// Forks. The new process reports its id and waits before `exec`; a thread of this process waits in `spawn` for it.
    ///
    /// # Errors
    ///
    /// Fails when no process can be created.
    pub fn create(path: &Path, name: &OsStr, args: &[OsString]) -> Result<Child> {
        let failed = |source: io::Error| Error::spawn(path, source);
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()));
        let ((pid_reader, pid_writer), (gate_reader, gate_writer)) = (pipe()?, pipe()?);
        let mut command = Command::new(path);
        command.arg0(name).args(args);
        let (writer, reader, inherited_gate) =
            (pid_writer.as_raw_fd(), gate_reader.as_raw_fd(), gate_writer.as_raw_fd());
        // SAFETY: between fork and exec only async-signal-safe calls are made: getpid, write, read, close. The
        // descriptors stay open in the parent until `spawn` has returned or failed, so the child has them.
        unsafe {
            command.pre_exec(move || {
                // The child's own copy of the gate would keep it from closing.
                libc::close(inherited_gate);
                let pid = (libc::getpid() as u32).to_ne_bytes();
                if libc::write(writer, pid.as_ptr().cast(), pid.len()) != pid.len() as isize {
                    return Err(io::Error::last_os_error());
                }
                let mut go = 0u8;
                if libc::read(reader, (&raw mut go).cast(), 1) != 1 {
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
                Ok(())
            });
        }
        // `spawn` returns when the program runs, which is after the gate opens: it waits on a thread of its own.
        let spawner = std::thread::spawn(move || {
            let child = command.spawn();
            drop((pid_writer, gate_reader));
            child
        });
        let mut pid = [0; 4];
        let mut reader = std::fs::File::from(pid_reader);
        if let Err(source) = reader.read_exact(&mut pid) {
            // No id came: the fork itself failed, and says why.
            drop(gate_writer);
            return Err(failed(match spawner.join() {
                Ok(Err(error)) => error,
                _ => source,
            }));
        }
        Ok(Child {
            pid: u32::from_ne_bytes(pid),
            path: path.to_owned(),
            gate: Some(gate_writer),
            spawner: Some(spawner),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Starts the program. The caller waits for the returned process.
    ///
    /// # Errors
    ///
    /// Fails when the program cannot be executed.
    pub fn run(mut self) -> Result<std::process::Child> {
        let failed = |source: io::Error| Error::spawn(self.path.clone(), source);
        if let Some(gate) = self.gate.take() {
            std::fs::File::from(gate).write_all(&[1]).map_err(failed)?;
        }
        match self.spawner.take().map(JoinHandle::join) {
            Some(Ok(child)) => child.map_err(failed),
            _ => Err(failed(io::Error::other("the thread that starts it ended"))),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.gate.take());
        if let Some(spawner) = self.spawner.take() {
            // Ends with an error as soon as the gate is closed; `spawn` has reaped the process then.
            let _ = spawner.join();
        }
    }
}
