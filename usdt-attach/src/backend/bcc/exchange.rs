//! One exchange with a program: a request on its standard input, an answer on its standard output, within limits of
//! time and size. What the program does, this ends: with an answer or an error.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What the program may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until it has exited.
    pub(super) time: Duration,
    /// Bytes on standard output.
    pub(super) answer: usize,
    /// Bytes of standard error that are kept; further ones are discarded.
    pub(super) diagnostics: usize,
}

/// What the program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) answer: Vec<u8>,
    pub(super) diagnostics: Vec<u8>,
    /// `None` where the process that calls ignores `SIGCHLD`, so that nobody can know.
    pub(super) status: Option<ExitStatus>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("cannot be run: {0}")]
    Spawn(io::Error),
    #[error("cannot be talked to: {0}")]
    Io(#[from] io::Error),
    #[error("has not answered within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("answers with more than {0} bytes")]
    TooLong(usize),
}

impl From<Errno> for ExchangeError {
    fn from(error: Errno) -> ExchangeError {
        ExchangeError::Io(error.into())
    }
}

/// Runs the command with `request` on its standard input until it has exited.
pub(super) fn exchange(
    command: &mut Command,
    request: &[u8],
    limits: Limits,
) -> Result<Said, ExchangeError> {
    // A file, so that neither end waits for the other, and a reader that exits early raises no SIGPIPE here.
    let mut input = File::from(memfd_create("usdt-request", MemfdFlags::CLOEXEC)?);
    input.write_all(request)?;
    input.rewind()?;
    // Of its own group, so that Ctrl-C at a terminal interrupts this process alone, which ends the other one.
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(ExchangeError::Spawn)?;
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    let mut process = Process { child, pidfd: pidfd? };
    let mut answer = Stream::new(process.child.stdout.take().map(OwnedFd::from), limits.answer)?;
    let mut diagnostics =
        Stream::new(process.child.stderr.take().map(OwnedFd::from), limits.diagnostics)?;

    let end = Instant::now() + limits.time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ExchangeError::TimedOut(limits.time));
        }
        let exited = wait(&process, &[&answer, &diagnostics], left)?;
        // After the exit, too: the last of it may still be in the pipes.
        answer.read()?;
        diagnostics.read()?;
        if answer.is_cut {
            return Err(ExchangeError::TooLong(limits.answer));
        }
        if exited {
            break;
        }
    }
    let status = process.child.wait().ok();
    Ok(Said { answer: answer.bytes, diagnostics: diagnostics.bytes, status })
}

/// Waits until the process has exited or one of its streams has something. Returns whether it has exited.
fn wait(process: &Process, streams: &[&Stream], longest: Duration) -> Result<bool, ExchangeError> {
    let mut fds = vec![PollFd::new(&process.pidfd, PollFlags::IN)];
    fds.extend(
        streams.iter().filter_map(|stream| Some(PollFd::new(stream.pipe.as_ref()?, PollFlags::IN))),
    );
    let timeout = Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(longest.subsec_nanos()),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(fds.first().is_some_and(|process| !process.revents().is_empty()))
}

/// A process that does not survive this value.
struct Process {
    child: Child,
    /// A process id could be another process's by the time of the kill.
    pidfd: OwnedFd,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails for a process that has exited, which is as good.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// One end of a pipe, and the beginning of what came out of it.
struct Stream {
    /// `None` after its end.
    pipe: Option<File>,
    bytes: Vec<u8>,
    longest: usize,
    /// More than `longest` bytes came.
    is_cut: bool,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>, longest: usize) -> Result<Stream, ExchangeError> {
        if let Some(pipe) = &pipe {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(Stream { pipe: pipe.map(File::from), bytes: Vec::new(), longest, is_cut: false })
    }

    /// Reads what is there, at most a few times what a pipe holds: a writer that never pauses must not keep the caller
    /// from its other duties.
    fn read(&mut self) -> Result<(), ExchangeError> {
        let mut buffer = vec![0; 1 << 16];
        for _ in 0..32 {
            let Some(pipe) = &mut self.pipe else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = self.longest - self.bytes.len();
                    self.bytes.extend(buffer.iter().take(count.min(room)));
                    self.is_cut |= count > room;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { time: Duration::from_secs(20), answer: 1 << 20, diagnostics: 8 };

    fn shell(script: &str, request: &[u8], limits: Limits) -> Result<Said, ExchangeError> {
        exchange(Command::new("sh").args(["-c", script]), request, limits)
    }

    #[test]
    fn both_sides_are_read_whatever_their_order() {
        let request = vec![b'x'; 1 << 19];
        let said = shell("cat; echo 'a long story' >&2; exit 3", &request, LIMITS).unwrap();
        assert_eq!(said.answer, request);
        assert_eq!(said.diagnostics, b"a long s");
        assert_eq!(said.status.unwrap().code(), Some(3));
        // More on standard error than a pipe holds, before anything on standard output.
        let said = shell("head -c 1000000 /dev/zero >&2; echo answer", b"", LIMITS).unwrap();
        assert_eq!((said.answer.as_slice(), said.diagnostics.len()), (&b"answer\n"[..], 8));
        // Nobody reads the request.
        assert_eq!(shell("echo answer", &request, LIMITS).unwrap().answer, b"answer\n");
    }

    #[test]
    fn endless_answers_and_silence_end() {
        let error = shell("yes", b"", LIMITS).unwrap_err();
        assert_eq!(error.to_string(), "answers with more than 1048576 bytes");
        let short = Limits { time: Duration::from_millis(50), ..LIMITS };
        for script in ["exec sleep 1000", "exec >&- 2>&-; exec sleep 1000", "exec yes >&2"] {
            let error = shell(script, b"", short).unwrap_err();
            assert!(matches!(error, ExchangeError::TimedOut(_)), "{script}: {error}");
        }
    }

    #[test]
    fn no_wait_for_what_the_program_leaves_behind() {
        let begin = Instant::now();
        let said = shell("sleep 10 & echo answer", b"", LIMITS).unwrap();
        assert_eq!(said.answer, b"answer\n");
        assert!(begin.elapsed() < Duration::from_secs(8));
    }

    #[test]
    fn a_killed_program_is_reported() {
        let said = shell("kill -9 $$", b"", LIMITS).unwrap();
        assert_eq!(said.status.unwrap().to_string(), "signal: 9 (SIGKILL)");
        let missing = exchange(&mut Command::new("/nonexistent/program"), b"", LIMITS).unwrap_err();
        assert!(matches!(missing, ExchangeError::Spawn(_)), "{missing}");
    }
}
