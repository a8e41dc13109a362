//! The wait that comes with a kernel's first uprobe.
//!
//! Who registers a uprobe keeps processes from forking meanwhile, by a lock that costs forks next to nothing and its
//! taker a grace period of RCU (`dup_mmap_sem` in `kernel/events/uprobes.c`): 8 ms, most of what attaching takes. Who
//! comes within the next grace period does not wait again. So a uprobe is registered while maps are made and
//! programs loaded: in a file in memory that nobody runs.

use super::load::{load, small_program};
use crate::bpf::syscall::{UprobeSite, link_uprobe_multi};
use crate::bpf::uapi::BPF_TRACE_UPROBE_MULTI;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one is good for: it takes half of this, and a grace period after it the lock is slow again.
const LASTS: Duration = Duration::from_millis(20);

/// Begins the wait on a thread of its own, unless one has just begun. Whatever fails here will be told by what needs
/// it.
pub fn start() {
    static BEGUN: Mutex<Option<Instant>> = Mutex::new(None);
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    if begun.is_some_and(|at| at.elapsed() < LASTS) {
        return;
    }
    *begun = Some(Instant::now());
    let _ = std::thread::Builder::new().name("usdt-grace".into()).spawn(register);
}

fn register() -> Option<()> {
    let file = memfd_create("usdt-grace", MemfdFlags::CLOEXEC).ok()?;
    ftruncate(&file, 4096).ok()?;
    let program = load(&small_program(|_| {}), BPF_TRACE_UPROBE_MULTI).ok()?;
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let site = UprobeSite { offset: 0, semaphore: 0, cookie: 0 };
    link_uprobe_multi(program.as_fd(), &path, &[site], 0).ok().map(drop)
}
