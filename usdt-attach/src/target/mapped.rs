//! Which processes of a target have mapped code since the last poll: libraries that are linked,
//! loaded by `dlopen`, or mapped by a program that loads code on its own.
//!
//! Dynamic linkers report libraries ([`LinkerEvents`]). For processes without a linker that reports,
//! a poll twice a second compares how much code each of them maps besides its executable (`VmLib` in
//! `/proc/PID/status`), which costs about 60 microseconds for each.

use super::{ProcessHandle, Target};
use crate::discover::process_state::stop_warning;
use crate::discover::{Linker, Mounts};
use crate::error::Result;
use crate::kernel::{LinkerEvents, ProcessTree};
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often processes that are reported are scanned. A program calls its linker several times in a
/// row, and a busy host starts hundreds of programs per second.
const SCAN_INTERVAL: Duration = Duration::from_millis(25);
/// How long a linker that has reported its process may take to stop it.
const STOP_DELAY: Duration = Duration::from_millis(20);
/// How long a process is continued that is found stopped after a report: the linker's thread may
/// have been preempted between the two.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// The number of linkers that are remembered.
const MAX_LINKERS: usize = 1 << 14;

/// The processes of a target that map files.
#[derive(Debug)]
pub(super) struct Mapped {
    /// `None` if the kernel does not permit them.
    events: Option<LinkerEvents>,
    /// True if the target names its processes one by one.
    is_named: bool,
    /// The linkers that are watched, as `/proc/PID/maps` shows their files; with the process, if
    /// processes are named.
    linkers: HashSet<(u32, String, u64)>,
    /// Processes that need no poll: their linker reports, or they are threads of the kernel.
    unpolled: HashSet<u32>,
    /// Processes that were reported and not scanned yet.
    pending: Vec<u32>,
    next_scan: Instant,
    /// The processes that each call of the linker stops.
    stopped: Vec<ProcessHandle>,
    /// When a linker reported one of them.
    reported: Option<Instant>,
    /// The size of the mapped code of each process at the last poll.
    code_sizes: HashMap<u32, u64>,
}

impl Mapped {
    /// Starts watching a target. Processes that are named one by one are added with
    /// [`Mapped::add`].
    pub(super) fn start(target: &Target, children: Option<&ProcessTree>) -> Mapped {
        let is_named = matches!(target, Target::Processes(_) | Target::Command(_));
        // The linker of a child is watched in all processes, so that it is before the child runs it.
        let is_named = is_named && children.is_none();
        Mapped {
            // Polling is the fallback.
            events: LinkerEvents::new(is_named, children).ok(),
            is_named,
            linkers: HashSet::new(),
            unpolled: HashSet::new(),
            pending: Vec::new(),
            next_scan: Instant::now(),
            stopped: Vec::new(),
            reported: None,
            code_sizes: HashMap::new(),
        }
    }

    /// Also watches this process. If it `stops`, each call of its linker stops it until
    /// [`Mapped::resume`].
    pub(super) fn add(&mut self, process: &ProcessHandle, stops: bool) -> Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        events.add(process.pid(), stops)?;
        if stops {
            self.stopped.push(process.clone());
        }
        Ok(())
    }

    /// Watches the linker that a process will execute its program with.
    pub(super) fn watch_program(&mut self, pid: u32, program: &Path) {
        if let (Some(events), Some(linker)) = (&mut self.events, Linker::of_executable(program)) {
            // Polling is the fallback.
            let _ = events.watch(&linker, pid);
        }
    }

    /// Watches the linker of a process, unless it is watched.
    pub(super) fn watch(&mut self, pid: u32, mounts: &Mounts) {
        let Some(events) = &mut self.events else { return };
        let watched = if self.is_named { pid } else { 0 };
        let (mut key, mut reports) = (None, false);
        let linker = Linker::of_process(pid, mounts, |device, inode| {
            let found = (watched, device.to_owned(), inode);
            reports = self.linkers.contains(&found);
            key = Some(found);
            !reports
        });
        if let Some(linker) = linker
            && self.linkers.len() < MAX_LINKERS
            && events.watch(&linker, watched).is_ok()
        {
            self.linkers.extend(key);
            reports = true;
        }
        // A thread of the kernel has no executable.
        if reports || std::fs::read_link(format!("/proc/{pid}/exe")).is_err() {
            self.unpolled.insert(pid);
        } else {
            self.unpolled.remove(&pid);
        }
    }

    /// Returns the descriptor that becomes readable when a linker reports a process.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(LinkerEvents::fd)
    }

    /// Returns when the processes that were reported are to be scanned; `None` if there are none.
    pub(super) fn next_scan(&self) -> Option<Instant> {
        (!self.pending.is_empty()).then_some(self.next_scan)
    }

    /// Returns the processes to scan now, and false if reports are missing.
    ///
    /// # Errors
    ///
    /// Fails when the reports cannot be read.
    pub(super) fn take(&mut self) -> Result<(Vec<u32>, bool)> {
        let Some(events) = &mut self.events else { return Ok((Vec::new(), true)) };
        let is_complete = events.drain(&mut self.pending)?;
        self.note_report();
        let is_due = !self.stopped.is_empty() || Instant::now() >= self.next_scan;
        if self.pending.is_empty() || !is_due {
            return Ok((Vec::new(), is_complete));
        }
        self.next_scan = Instant::now() + SCAN_INTERVAL;
        Ok((std::mem::take(&mut self.pending), is_complete))
    }

    /// Returns those of the processes that have mapped more or less code than at the last call,
    /// unless their linkers report that.
    pub(super) fn poll(&mut self, processes: &[u32]) -> Vec<u32> {
        let polled = processes.iter().filter(|pid| !self.unpolled.contains(pid));
        let sizes: HashMap<u32, u64> =
            polled.map(|pid| (*pid, code_size(*pid).unwrap_or_default())).collect();
        let has_changed =
            |(pid, size): &(&u32, &u64)| self.code_sizes.get(pid).is_none_or(|last| last != *size);
        let changed = sizes.iter().filter(has_changed).map(|(pid, _)| *pid).collect();
        self.code_sizes = sizes;
        // Another process may get the id of one that has ended.
        let alive: HashSet<u32> = processes.iter().copied().collect();
        self.unpolled.retain(|pid| alive.contains(pid));
        if self.is_named {
            self.linkers.retain(|(pid, ..)| alive.contains(pid));
        }
        changed
    }

    /// Returns true if there are processes that their linkers stop.
    pub(super) fn stops(&self) -> bool {
        !self.stopped.is_empty()
    }

    /// Returns true if its linker stops this process.
    pub(super) fn stops_process(&self, pid: u32) -> bool {
        self.stopped.iter().any(|process| process.pid() == pid)
    }

    /// Returns true if a stopped process waits for a scan.
    pub(super) fn has_stopped(&mut self) -> Result<bool> {
        let Some(events) = &mut self.events else { return Ok(false) };
        if self.stopped.is_empty() {
            return Ok(false);
        }
        events.drain(&mut self.pending)?;
        self.note_report();
        Ok(!self.pending.is_empty())
    }

    /// Continues the processes that a linker has stopped a moment ago. Others may have been stopped
    /// by their user, or have a handler for the signal.
    pub(super) fn resume(&self) {
        let Some(reported) = self.reported else { return };
        let elapsed = reported.elapsed();
        if elapsed > STOP_GRACE {
            return;
        }
        for process in &self.stopped {
            if elapsed <= STOP_DELAY || stop_warning(process.pid()).is_some() {
                self.resume_process(process);
            }
        }
    }

    fn resume_process(&self, process: &ProcessHandle) {
        // Fails if the process has ended.
        let _ = pidfd_send_signal(process.as_fd(), Signal::CONT);
    }

    /// Notes that a linker may have stopped its process.
    fn note_report(&mut self) {
        if self.pending.iter().any(|pid| self.stops_process(*pid)) {
            self.reported = Some(Instant::now());
        }
    }

    /// Ends the reports, and continues the processes.
    pub(super) fn stop(&mut self) {
        if self.stopped.is_empty() {
            return;
        }
        for process in &self.stopped {
            let _ = self.events.as_ref().map(|events| events.add(process.pid(), false));
        }
        if let Some(events) = &mut self.events {
            events.stop();
        }
        // A program that the kernel is executing meanwhile may still send its signal.
        self.stopped.iter().for_each(|process| self.resume_process(process));
        std::thread::sleep(Duration::from_millis(1));
        self.stopped.iter().for_each(|process| self.resume_process(process));
        self.stopped.clear();
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns the size of the code that a process maps besides its executable, in KiB.
fn code_size(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmLib:"))?;
    size.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)] // maps a file executable; the mapping is not accessed

    use super::*;
    use memmap2::MmapOptions;
    use std::fs::File;

    /// Maps a file of this process executable, once more.
    fn map_executable() -> memmap2::Mmap {
        let file = File::open("/proc/self/exe").unwrap();
        // SAFETY: the file is the executable of this process, which is not written to.
        unsafe { MmapOptions::new().len(4096).map_exec(&file).unwrap() }
    }

    #[test]
    fn a_poll_finds_processes_that_map_code() {
        let own = [std::process::id()];
        let mut mapped = Mapped::start(&Target::Processes(Vec::new()), None);
        assert_eq!(mapped.poll(&own), own, "the first poll");
        let code = map_executable();
        assert_eq!(mapped.poll(&own), own);
        drop(code);
    }

    #[test]
    fn the_linker_stops_a_process_until_it_is_resumed() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read go; exec true"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let handle = ProcessHandle::open(child.id()).unwrap();
        let target = Target::Processes(vec![handle.clone()]);
        let mut mapped = Mapped::start(&target, None);
        if mapped.events.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        mapped.add(&handle, true).unwrap();
        mapped.watch_program(child.id(), Path::new("/bin/sh"));
        drop(child.stdin.take());
        let mut stops = 0;
        while child.try_wait().unwrap().is_none() {
            let (pids, _) = mapped.take().unwrap();
            if pids.is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            } else {
                assert_eq!(pids, [child.id()]);
                stops += 1;
                mapped.resume();
            }
        }
        assert!(stops >= 2, "before and after the C library is mapped");
    }
}
