//! One exchange with a program: a request on its standard input, an answer on its standard output.
//!
//! Time and size are limited. Whatever the program does, the exchange ends with an answer or an
//! error, and leaves no process behind.

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

/// Limits of an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Maximum time until the program exits.
    pub(super) time: Duration,
    /// Maximum length of standard output in bytes.
    pub(super) answer: usize,
    /// Maximum length of standard error in bytes. Further output is discarded.
    pub(super) diagnostics: usize,
}

/// The output of the program.
#[derive(Debug)]
pub(super) struct Reply {
    /// Standard output.
    pub(super) answer: Vec<u8>,
    /// Standard error.
    pub(super) diagnostics: Vec<u8>,
    /// The exit status; `None` if the calling process ignores `SIGCHLD`, which discards it.
    pub(super) status: Option<ExitStatus>,
}

/// The reason why there is no answer. The messages continue one that starts with the path of the
/// program.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("cannot be run: {0}")]
    Spawn(io::Error),
    #[error("cannot be communicated with: {0}")]
    Io(#[from] io::Error),
    #[error("has not answered within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("returns more than {0} bytes")]
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
) -> Result<Reply, ExchangeError> {
    // With a file instead of a pipe, neither process waits for the other, and a program that exits
    // without reading causes no SIGPIPE here.
    let mut input = File::from(memfd_create("usdt-request", MemfdFlags::CLOEXEC)?);
    input.write_all(request)?;
    input.rewind()?;
    // The program gets a process group of its own, so that Ctrl-C at a terminal interrupts only this
    // process, which then kills the other one.
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(ExchangeError::Spawn)?;
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    let mut process = KillOnDrop { child, pidfd: pidfd? };
    let mut answer = Stream::new(process.child.stdout.take().map(OwnedFd::from), limits.answer)?;
    let mut diagnostics =
        Stream::new(process.child.stderr.take().map(OwnedFd::from), limits.diagnostics)?;

    let deadline = Instant::now() + limits.time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ExchangeError::TimedOut(limits.time));
        }
        let has_exited = wait(&process, &[&answer, &diagnostics], left)?;
        // After the exit, the end of the output may still be in the pipes.
        answer.read()?;
        diagnostics.read()?;
        if answer.is_truncated {
            return Err(ExchangeError::TooLong(limits.answer));
        }
        if has_exited {
            break;
        }
    }
    let status = process.child.wait().ok();
    Ok(Reply { answer: answer.bytes, diagnostics: diagnostics.bytes, status })
}

/// Waits until the process has exited or a stream is readable. Returns true if it has exited.
fn wait(
    process: &KillOnDrop,
    streams: &[&Stream],
    timeout: Duration,
) -> Result<bool, ExchangeError> {
    let mut fds = vec![PollFd::new(&process.pidfd, PollFlags::IN)];
    fds.extend(
        streams.iter().filter_map(|stream| Some(PollFd::new(stream.pipe.as_ref()?, PollFlags::IN))),
    );
    let timespec = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match poll(&mut fds, Some(&timespec)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(fds.first().is_some_and(|process| !process.revents().is_empty()))
}

/// A process that is killed when the value is dropped.
struct KillOnDrop {
    child: Child,
    /// Unlike the process id, it cannot refer to another process by the time of the kill.
    pidfd: OwnedFd,
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Fails if the process has exited already.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The read end of a pipe, and what has been read from it.
struct Stream {
    /// `None` after the end of the stream.
    pipe: Option<File>,
    bytes: Vec<u8>,
    max_len: usize,
    /// True if the stream had more than `max_len` bytes.
    is_truncated: bool,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>, max_len: usize) -> Result<Stream, ExchangeError> {
        if let Some(pipe) = &pipe {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(Stream { pipe: pipe.map(File::from), bytes: Vec::new(), max_len, is_truncated: false })
    }

    /// Reads what is available, up to a few times the capacity of a pipe. Without this limit, a program
    /// that writes without pause would keep the caller from checking the time.
    fn read(&mut self) -> Result<(), ExchangeError> {
        let mut buffer = vec![0; 1 << 16];
        for _ in 0..32 {
            let Some(pipe) = &mut self.pipe else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let free = self.max_len - self.bytes.len();
                    self.bytes.extend(buffer.iter().take(count.min(free)));
                    self.is_truncated |= count > free;
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

    fn shell(script: &str, request: &[u8], limits: Limits) -> Result<Reply, ExchangeError> {
        exchange(Command::new("sh").args(["-c", script]), request, limits)
    }

    #[test]
    fn reads_both_streams_in_any_order() {
        let request = vec![b'x'; 1 << 19];
        let reply = shell("cat; echo 'a long message' >&2; exit 3", &request, LIMITS).unwrap();
        assert_eq!(reply.answer, request);
        assert_eq!(reply.diagnostics, b"a long m");
        assert_eq!(reply.status.unwrap().code(), Some(3));
        // More on standard error than a pipe holds, before anything on standard output.
        let reply = shell("head -c 1000000 /dev/zero >&2; echo answer", b"", LIMITS).unwrap();
        assert_eq!((reply.answer.as_slice(), reply.diagnostics.len()), (&b"answer\n"[..], 8));
        // The request is not read.
        assert_eq!(shell("echo answer", &request, LIMITS).unwrap().answer, b"answer\n");
    }

    #[test]
    fn limits_the_length_and_time_of_an_answer() {
        let error = shell("yes", b"", LIMITS).unwrap_err();
        assert_eq!(error.to_string(), "returns more than 1048576 bytes");
        let short = Limits { time: Duration::from_millis(50), ..LIMITS };
        for script in ["exec sleep 1000", "exec >&- 2>&-; exec sleep 1000", "exec yes >&2"] {
            let error = shell(script, b"", short).unwrap_err();
            assert!(matches!(error, ExchangeError::TimedOut(_)), "{script}: {error}");
        }
    }

    #[test]
    fn does_not_wait_for_orphaned_children() {
        let begin = Instant::now();
        let reply = shell("sleep 10 & echo answer", b"", LIMITS).unwrap();
        assert_eq!(reply.answer, b"answer\n");
        assert!(begin.elapsed() < Duration::from_secs(8));
    }

    #[test]
    fn reports_that_the_program_was_killed() {
        let reply = shell("kill -9 $$", b"", LIMITS).unwrap();
        assert_eq!(reply.status.unwrap().to_string(), "signal: 9 (SIGKILL)");
        let missing = exchange(&mut Command::new("/nonexistent/program"), b"", LIMITS).unwrap_err();
        assert!(matches!(missing, ExchangeError::Spawn(_)), "{missing}");
    }
}
