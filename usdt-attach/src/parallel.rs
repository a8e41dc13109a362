//! Work on many items at once.

use std::sync::{Mutex, PoisonError};

/// Calls `work` with each item, on up to `threads` threads with this name.
///
/// The calling thread works, too: if a thread cannot be started, the others do its work.
pub(crate) fn for_each<T: Send>(
    items: Vec<T>,
    threads: usize,
    name: &str,
    work: impl Fn(T) + Sync,
) {
    let threads = items.len().min(threads);
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
            let thread = std::thread::Builder::new().name(name.to_owned());
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
            for_each((1..=count).collect(), 64, "test", |n: u64| {
                sum.fetch_add(n, Relaxed);
            });
            assert_eq!(sum.into_inner(), count * (count + 1) / 2);
        }
    }
}
