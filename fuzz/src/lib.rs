//! Code that the fuzz targets share: a memory limit, so that an input that makes a parser allocate
//! too much fails.

pub mod attacher;
pub mod elf_mutation;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The limit in bytes of the memory that a parser may allocate for one input.
const LIMIT: usize = 64 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with counters of the current and the highest memory use.
struct CountingAllocator;

// SAFETY: the system's allocator does the work, and the counters do not touch its memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller upholds the contract of the same function of the trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller upholds the contract of the same function of the trait.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Runs a parser.
///
/// # Panics
///
/// Panics if the parser allocates more than the memory limit.
pub fn with_memory_limit(run: impl FnOnce()) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    run();
    let allocated = PEAK.load(Relaxed).saturating_sub(before);
    assert!(allocated <= LIMIT, "{allocated} bytes allocated, the limit is {LIMIT}");
}

/// Returns the input as a string. Invalid UTF-8 is replaced.
pub fn lossy_string(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
