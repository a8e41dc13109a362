//! Work on many links at once.

use std::sync::{Mutex, PoisonError};

/// The number of threads at most. They wait for the kernel and take no CPU time.
const MAX_THREADS: usize = 64;

/// Calls `work` with each item, on up to 64 threads.
///
/// Closing a link waits until no CPU can run its program any more, about 50 ms. The kernel does so
/// for many links at once, but only if they are closed on several threads.
pub(crate) fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let threads = items.len().min(MAX_THREADS);
    let items = Mutex::new(items.into_iter());
    let run = || {
        loop {
            let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = next else { return };
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without a thread, the others do its work.
            let thread = std::thread::Builder::new().name("usdt-detach".to_owned());
            let _ = thread.spawn_scoped(scope, run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn handles_each_item_once() {
        for count in [0, 1, 2, 1000] {
            let sum = AtomicU64::new(0);
            for_each((1..=count).collect(), |n: u64| {
                sum.fetch_add(n, Relaxed);
            });
            assert_eq!(sum.into_inner(), count * (count + 1) / 2);
        }
    }
}
