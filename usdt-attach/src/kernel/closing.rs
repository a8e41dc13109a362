//! Closing many links at once.
//!
//! Closing a link waits for two grace periods of RCU: one after which no fork misses the removal
//! (`dup_mmap_sem`), and one after which no CPU runs its program (`synchronize_rcu_tasks_trace`).
//! Together they take 25 to 50 ms, and no CPU time. The kernel serves many links in the same grace
//! periods, but only if they are closed on several threads.

use super::Link;
use crate::parallel;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// The number of threads at most. They wait for the kernel and take no CPU time.
const MAX_THREADS: usize = 256;

/// Closes links on up to 256 threads, and waits until that is done.
pub(super) fn close(links: Vec<Link>) {
    parallel::for_each(links, MAX_THREADS, "usdt-detach", drop);
}

/// Links that are being closed in the background. Dropping this waits until that is done.
#[derive(Debug)]
pub(crate) struct Closing(Mutex<Option<JoinHandle<()>>>);

impl Closing {
    /// Begins to close links. If no thread can be started, they are closed when this returns.
    pub(crate) fn start(links: Vec<Link>) -> Closing {
        // If the thread cannot be started, dropping the closure closes the links.
        let thread = std::thread::Builder::new().name("usdt-detach".to_owned());
        Closing(Mutex::new(thread.spawn(|| close(links)).ok()))
    }

    /// Returns true if all links are closed.
    pub(crate) fn is_done(&self) -> bool {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until all links are closed.
    pub(crate) fn wait(&self) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Closing does not panic.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    #[test]
    fn closes_every_descriptor_before_waiting_ends() {
        let pipes: Vec<_> = (0..200).map(|_| std::io::pipe().unwrap()).collect();
        let (mut readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        let links = writers.into_iter().map(|end| Link::create(|| Ok(OwnedFd::from(end))).unwrap());
        let closing = Closing::start(links.collect());
        closing.wait();
        assert!(closing.is_done());
        for reader in &mut readers {
            // The end of the file comes only after the other end is closed.
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn nothing_to_close_is_done_soon() {
        let closing = Closing::start(Vec::new());
        closing.wait();
        assert!(closing.is_done());
    }
}
