//! Ending a process while its threads attach or detach.
//!
//! The kernel changes an instruction by writing to the memory of each process that maps it. A thread
//! that is being killed cannot do so: the kernel fails with `EINTR`, says "failed to unregister, leaking
//! uprobe" in its log, and leaves the breakpoint, which traps at each hit until the process ends or
//! another tracer attaches to the site and detaches. `exit` kills all other threads. After they have
//! ended, the kernel closes what links there are and restores all instructions.
#![allow(unsafe_code)] // _exit, and closing a descriptor at a given moment

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicI32, AtomicUsize};
use std::time::Duration;

/// The number of threads that create or close links.
static CHANGES: AtomicUsize = AtomicUsize::new(0);
/// The status with which the process ends after the last change.
static STATUS: AtomicI32 = AtomicI32::new(NONE);
const NONE: i32 = i32::MIN;
/// A status that is not one: the process ends by other means.
const STOPPED: i32 = i32::MIN + 1;

/// Ends the process without destructors: now, or as soon as no thread is attaching or detaching, which
/// takes milliseconds. Then the function returns. A signal handler can call it.
///
/// A program that ends in another way while it attaches or detaches leaves breakpoints in the traced
/// processes. Dropping a [`Session`](crate::session::Session) waits until it has detached.
pub fn exit(status: i32) {
    STATUS.store(status, SeqCst);
    if CHANGES.load(SeqCst) == 0 {
        exit_now(status);
    }
}

/// Waits until no thread attaches or detaches, and lets none begin: the process can end then. It is for
/// the end of `main`; a thread that attaches or detaches later waits forever.
pub fn stop() {
    STATUS.store(STOPPED, SeqCst);
    while CHANGES.load(SeqCst) > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn exit_now(status: i32) -> ! {
    // SAFETY: _exit is always safe to call.
    unsafe { libc::_exit(status) }
}

/// A change of sites by this thread, until it is dropped.
struct Change;

impl Change {
    /// Does not return if the process is to end.
    fn begin() -> Change {
        CHANGES.fetch_add(1, SeqCst);
        let change = Change;
        if STATUS.load(SeqCst) != NONE {
            drop(change);
            // The last of the others ends the process.
            loop {
                std::thread::park();
            }
        }
        change
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if CHANGES.fetch_sub(1, SeqCst) == 1 {
            match STATUS.load(SeqCst) {
                NONE | STOPPED => {}
                status => exit_now(status),
            }
        }
    }
}

/// Makes a system call that changes sites.
pub(super) fn change<T>(call: impl FnOnce() -> T) -> T {
    let _change = Change::begin();
    call()
}

/// A link or perf event that attaches a program to sites. Dropping it detaches.
#[derive(Debug)]
pub struct Link(ManuallyDrop<OwnedFd>);

impl Link {
    /// Creates a link with a system call.
    pub(super) fn create(call: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Link> {
        change(call).map(|fd| Link(ManuallyDrop::new(fd)))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: nothing uses the descriptor after this.
        change(|| unsafe { ManuallyDrop::drop(&mut self.0) });
    }
}
