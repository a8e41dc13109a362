//! The delay of a kernel's first uprobe, taken while other work is done.
//!
//! Registering a uprobe keeps processes from forking meanwhile, by a lock that costs forks next to nothing and its
//! taker an RCU grace period (`dup_mmap_sem` in `kernel/events/uprobes.c`): 8 ms, most of what attaching takes. A
//! registration within the next grace period does not wait again. So a uprobe is registered while maps are created and
//! programs loaded: in a memory file that no process executes.

use super::load::{load, small_program};
use crate::bpf::syscall::{UprobeSite, link_uprobe_multi};
use crate::bpf::uapi::BPF_TRACE_UPROBE_MULTI;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a warm-up lasts: it takes half of this, and a grace period after it the lock is slow again.
const LASTS: Duration = Duration::from_millis(20);

/// Starts a warm-up on a thread of its own, unless one has just started. Failures are reported by the attaching that
/// follows.
pub fn start() {
    static BEGUN: Mutex<Option<Instant>> = Mutex::new(None);
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    if begun.is_some_and(|at| at.elapsed() < LASTS) {
        return;
    }
    *begun = Some(Instant::now());
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
