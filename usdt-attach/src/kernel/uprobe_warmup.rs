//! Uprobe warm-up: moves the delay of the first uprobe registration to a parallel thread.
//!
//! To register a uprobe, the kernel takes a lock that excludes `fork` (`dup_mmap_sem` in
//! `kernel/events/uprobes.c`). It is a per-CPU lock whose writer waits for an RCU grace period:
//! about 8 ms, most of the time that attaching takes. Another registration soon after does not wait
//! again. So a thread registers a uprobe in a memory file, which no process executes, while the
//! maps are created and the programs loaded.

use super::load::{load, small_program};
use crate::bpf::syscall::{UprobeSite, link_uprobe_multi};
use crate::bpf::uapi::BPF_TRACE_UPROBE_MULTI;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time after the start of a warm-up during which registrations are fast. The warm-up itself takes
/// about half of it.
const EFFECTIVE_FOR: Duration = Duration::from_millis(20);

/// Starts a warm-up on a new thread, unless one was started less than 20 ms ago.
///
/// Attaching calls this itself. Call it earlier, such as before a scan, to hide more of the delay.
/// Failures are ignored: attaching meets the same problem and reports it.
pub fn start() {
    static STARTED: Mutex<Option<Instant>> = Mutex::new(None);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if started.is_some_and(|at| at.elapsed() < EFFECTIVE_FOR) {
        return;
    }
    *started = Some(Instant::now());
    let _ = std::thread::Builder::new().name("usdt-warmup".into()).spawn(register);
}

fn register() -> Option<()> {
    let file = memfd_create("usdt-warmup", MemfdFlags::CLOEXEC).ok()?;
    ftruncate(&file, 4096).ok()?;
    let program = load(&small_program(|_| {}), BPF_TRACE_UPROBE_MULTI).ok()?;
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let site = UprobeSite { offset: 0, semaphore: 0, cookie: 0 };
    link_uprobe_multi(program.as_fd(), &path, &[site], 0).ok().map(drop)
}
