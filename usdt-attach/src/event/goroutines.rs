//! Snapshots of a Go process: its goroutines and the bytes it has allocated.
//!
//! The snapshot is read from the memory of the process, which is not stopped. The reader needs
//! permission to trace the process (ptrace(2)). Because the process keeps running, the list of
//! goroutines is validated before it is trusted. Memory that a file system would have to be asked
//! for is not read: it might never answer.

use crate::discover::{Object, ProcessMemory, ScannedObject, process};
use gobinary::GoBinary;
use gobinary::runtime_layout::{GoroutineStatus, RuntimeLayout};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The maximum length of a goroutine list. A longer one is taken for garbage.
const MAX_GOROUTINES: u64 = 1 << 20;

/// Reads snapshots of the processes of a Go executable.
///
/// ```no_run
/// use usdt_attach::Target;
/// use usdt_attach::event::goroutines::GoroutineReader;
///
/// # fn main() -> usdt_attach::Result<()> {
/// let objects = Target::pid(42)?.scan()?.objects;
/// if let Some(snapshot) = GoroutineReader::new(&objects).and_then(|reader| reader.read(42)) {
///     println!("{} goroutines", snapshot.goroutines.values().sum::<u64>());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GoroutineReader {
    object: Arc<Object>,
    layout: RuntimeLayout,
}

/// The goroutines and the allocated memory of a Go process at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoroutineSnapshot {
    /// The number of goroutines in each group.
    pub goroutines: BTreeMap<Goroutine, u64>,
    /// Bytes allocated on the heap since the process started, including freed ones; `None` if the
    /// counter cannot be found or read.
    pub allocated_bytes: Option<u64>,
}

/// A group of goroutines that have the same state and origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Goroutine {
    /// Whether it is running, runnable, waiting or in a system call.
    pub status: GoroutineStatus,
    /// What it waits for, in the words of the runtime, such as `chan receive`. `None` if it does not
    /// wait, or if the reasons of this Go release are not known.
    pub wait_reason: Option<&'static str>,
    /// The return address of the `go` statement that created it.
    pub creator_pc: u64,
    /// The entry address of its function.
    pub entry_pc: u64,
}

impl GoroutineReader {
    /// Creates a reader for the first Go executable among `objects`.
    ///
    /// Returns `None` if there is none, or if the layout of its runtime structures is unknown. The
    /// layout follows from the Go release (1.17 or later) or from the DWARF of the binary.
    pub fn new(objects: &[ScannedObject]) -> Option<GoroutineReader> {
        objects.iter().find_map(|scanned| {
            let bytes = scanned.object.bytes();
            let layout = GoBinary::read(&bytes)?.runtime_layout()?;
            Some(GoroutineReader { object: Arc::clone(&scanned.object), layout })
        })
    }

    /// Reads a snapshot. `None` if the process has exited, may not be traced, or has not started its
    /// Go runtime yet.
    pub fn read(&self, pid: u32) -> Option<GoroutineSnapshot> {
        let process = ProcessMemory::open(pid)?;
        let memory = Memory { process, load_bias: self.load_bias(pid)? };
        let goroutines = self.goroutines(&memory)?;
        let allocated_bytes = self.layout.total_alloc.and_then(|address| memory.word(address));
        Some(GoroutineSnapshot { goroutines, allocated_bytes })
    }

    /// The difference between the addresses in the process and the link-time addresses.
    fn load_bias(&self, pid: u32) -> Option<u64> {
        let mappings = process::mapped_ranges(pid).ok()?;
        let mapping = mappings.iter().find(|m| m.file().1 == self.object.id.ino)?;
        let bytes = self.object.bytes();
        let linked = self.object.view(&bytes).ok()?.offset_to_vaddr(mapping.offset)?;
        Some(mapping.start.wrapping_sub(linked))
    }

    /// Reads `runtime.allgs`, a slice of pointers to `runtime.g`.
    fn goroutines(&self, memory: &Memory) -> Option<BTreeMap<Goroutine, u64>> {
        /// The id of the goroutine of `main.main`, which is the first in the list.
        const MAIN: u64 = 1;
        let slice = self.layout.allgs;
        let [first, length, capacity] =
            [0, 8, 16].map(|offset| memory.word(slice.wrapping_add(offset)));
        let max_length = MAX_GOROUTINES.min(capacity.unwrap_or(0));
        let length = length.filter(|length| (1..=max_length).contains(length))?;
        let mut pointers = vec![0; usize::try_from(length).ok()?.checked_mul(8)?];
        memory.process.read(first?, &mut pointers)?;
        // One read per goroutine covers all of its fields.
        let fields = &self.layout.goroutine;
        let offsets =
            [fields.id, fields.status, fields.wait_reason, fields.caller, fields.function];
        let start = *offsets.iter().min()?;
        let mut bytes = vec![0; (offsets.iter().max()? - start) as usize + 8];
        let mut groups = BTreeMap::new();
        for (index, pointer) in pointers.as_chunks::<8>().0.iter().enumerate() {
            let address = u64::from_le_bytes(*pointer).checked_add(start.into())?;
            memory.process.read(address, &mut bytes)?;
            let word = |offset: u32| {
                let field = bytes.get((offset - start) as usize..).and_then(<[u8]>::first_chunk);
                field.map_or(0, |bytes| u64::from_le_bytes(*bytes))
            };
            if index == 0 && word(fields.id) != MAIN {
                return None;
            }
            let Some(status) = GoroutineStatus::from_word(word(fields.status) as u32) else {
                continue;
            };
            let reason = usize::from(word(fields.wait_reason) as u8);
            let wait_reason = fields
                .wait_reason_labels
                .get(reason)
                .filter(|_| status == GoroutineStatus::Waiting)
                .copied();
            let (creator_pc, entry_pc) = (word(fields.caller), word(fields.function));
            let goroutine = Goroutine { status, wait_reason, creator_pc, entry_pc };
            *groups.entry(goroutine).or_default() += 1;
        }
        Some(groups)
    }
}

struct Memory {
    process: ProcessMemory,
    load_bias: u64,
}

impl Memory {
    /// The word at a link-time address.
    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.process.read(self.load_bias.wrapping_add(address), &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Reads this process as if its `runtime.allgs` were `slice`: address, length and capacity.
    fn read(slice: &[u64; 3]) -> Option<BTreeMap<Goroutine, u64>> {
        let exe = Path::new("/proc/self/exe");
        let goroutine = gobinary::runtime_layout::GoroutineLayout {
            id: 8,
            status: 0,
            wait_reason: 4,
            caller: 16,
            function: 24,
            wait_reason_labels: &[],
        };
        let layout = RuntimeLayout { allgs: slice.as_ptr() as u64, goroutine, total_alloc: None };
        let reader = GoroutineReader { object: Arc::new(Object::open(exe, exe).unwrap()), layout };
        let process = ProcessMemory::open(std::process::id()).unwrap();
        reader.goroutines(&Memory { process, load_bias: 0 })
    }

    fn goroutine(status: u64, id: u64) -> [u64; 4] {
        [status, id, 0x1000, 0x2000]
    }

    #[test]
    fn groups_goroutines_by_state_and_origin() {
        let goroutines = [
            goroutine(2, 1),
            goroutine(4, 2),
            goroutine(4, 3),
            goroutine(6, 4),
            goroutine(0x1001, 5),
        ];
        let pointers: Vec<u64> = goroutines.iter().map(|g| g.as_ptr() as u64).collect();
        let groups = read(&[pointers.as_ptr() as u64, 5, 8]).unwrap();
        let counts: Vec<(GoroutineStatus, u64)> =
            groups.iter().map(|(g, n)| (g.status, *n)).collect();
        assert_eq!(
            counts,
            [
                (GoroutineStatus::Runnable, 1),
                (GoroutineStatus::Running, 1),
                (GoroutineStatus::Waiting, 2)
            ]
        );
        let expected = (0x1000, 0x2000, None);
        assert!(groups.keys().all(|g| (g.creator_pc, g.entry_pc, g.wait_reason) == expected));
    }

    #[test]
    fn rejects_inconsistent_goroutine_lists() {
        let (main, other) = (goroutine(4, 1), goroutine(4, 7));
        let read_list = |pointers: &[u64], length, capacity| {
            read(&[pointers.as_ptr() as u64, length, capacity])
        };
        let address = |goroutine: &[u64; 4]| goroutine.as_ptr() as u64;
        assert_eq!(
            read_list(&[address(&other)], 1, 1),
            None,
            "the first is not the main goroutine"
        );
        assert_eq!(read_list(&[address(&main), address(&other)], 2, 1), None, "length > capacity");
        assert_eq!(read_list(&[address(&main)], u64::MAX, u64::MAX), None, "length > maximum");
        assert_eq!(read_list(&[address(&main)], 0, 1), None, "the runtime has not started");
        for wild in [0, 1, u64::MAX, u64::MAX - 7, 1 << 63] {
            assert_eq!(read_list(&[address(&main), wild], 2, 2), None, "goroutine at {wild:#x}");
            assert_eq!(read(&[wild, 1, 1]), None, "list at {wild:#x}");
        }
    }
}
