//! Closing many links at once.

use crate::parallel;

/// The number of threads at most. They wait for the kernel and take no CPU time.
const MAX_THREADS: usize = 64;

/// Calls `work`, which closes links, with each item on up to 64 threads.
///
/// Closing a link waits until no CPU can run its program any more, about 50 ms. The kernel does so
/// for many links at once, but only if they are closed on several threads.
pub(crate) fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    parallel::for_each(items, MAX_THREADS, "usdt-detach", work);
}
