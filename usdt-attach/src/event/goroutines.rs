//! Snapshots of a Go process, read from its memory: its goroutines and the bytes it has allocated. The process is not
//! stopped; the reader must be allowed to trace it (ptrace(2)).

use crate::discover::{Object, ScannedObject, process};
use gobinary::GoBinary;
use gobinary::runtime_layout::{GoroutineStatus, RuntimeLayout};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The most goroutines that are read.
const MOST: u64 = 1 << 20;

/// Reads snapshots of the processes of an executable.
#[derive(Clone, Debug)]
pub struct Reader {
    object: Arc<Object>,
    state: RuntimeLayout,
}

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoroutineSnapshot {
    /// Number of goroutines of each description.
    pub goroutines: BTreeMap<Goroutine, u64>,
    /// Bytes allocated since the program started; `None` where they cannot be read.
    pub allocated: Option<u64>,
}

/// The description of a goroutine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Goroutine {
    /// Whether it runs, waits or is in a system call.
    pub status: GoroutineStatus,
    /// What it waits for, as the runtime names it; `None` if it does not wait.
    pub reason: Option<&'static str>,
    /// The return address of the `go` statement that created it.
    pub caller: u64,
    /// The entry of its function.
    pub function: u64,
}

impl Reader {
    /// A reader for the first Go binary of these whose runtime structures are known: by its release, from Go 1.21 on, or by
    /// its DWARF. `None` if there is none.
    pub fn new(found: &[ScannedObject]) -> Option<Reader> {
        found.iter().find_map(|one| {
            let data = one.object.bytes();
            let state = GoBinary::parse(data)?.runtime_layout(data)?;
            Some(Reader { object: Arc::clone(&one.object), state })
        })
    }

    /// Reads a snapshot. `None` where nothing can be read: the process has ended or may not be traced, or its runtime has
    /// not started.
    pub fn read(&self, pid: u32) -> Option<GoroutineSnapshot> {
        let memory =
            Memory { file: File::open(format!("/proc/{pid}/mem")).ok()?, bias: self.bias(pid)? };
        let goroutines = self.goroutines(&memory)?;
        let allocated = self.state.total_alloc.and_then(|address| memory.linked(address));
        Some(GoroutineSnapshot { goroutines, allocated })
    }

    /// By how much the process has the file elsewhere than it is linked to.
    fn bias(&self, pid: u32) -> Option<u64> {
        let mapped = process::mapped(pid).ok()?;
        let own = mapped.iter().find(|m| m.file().1 == self.object.id.ino)?;
        Some(own.start.wrapping_sub(self.object.view().ok()?.offset_to_vaddr(own.offset)?))
    }

    fn goroutines(&self, memory: &Memory) -> Option<BTreeMap<Goroutine, u64>> {
        /// The goroutine of `main.main` is the first one.
        const MAIN: u64 = 1;
        let list = self.state.allgs;
        let [first, length, capacity] = [0, 8, 16].map(|at| memory.linked(list.wrapping_add(at)));
        let length =
            length.filter(|length| (1..=MOST.min(capacity.unwrap_or(0))).contains(length))?;
        let mut pointers = vec![0; usize::try_from(length).ok()?.checked_mul(8)?];
        memory.file.read_exact_at(&mut pointers, first?).ok()?;
        let at = &self.state.goroutine;
        let offsets = [at.id, at.status, at.wait_reason, at.caller, at.function];
        let start = *offsets.iter().min()?;
        let mut bytes = vec![0; (offsets.iter().max()? - start) as usize + 8];
        let mut out = BTreeMap::new();
        for (index, pointer) in pointers.as_chunks::<8>().0.iter().enumerate() {
            let address = u64::from_le_bytes(*pointer).checked_add(start.into())?;
            memory.file.read_exact_at(&mut bytes, address).ok()?;
            let word = |offset: u32| {
                let from = bytes.get((offset - start) as usize..).and_then(<[u8]>::first_chunk);
                from.map_or(0, |bytes| u64::from_le_bytes(*bytes))
            };
            if index == 0 && word(at.id) != MAIN {
                return None;
            }
            let Some(status) = GoroutineStatus::from_word(word(at.status) as u32) else { continue };
            let number = usize::from(word(at.wait_reason) as u8);
            let reason =
                at.wait_reason_labels.get(number).filter(|_| status == GoroutineStatus::Waiting);
            let (caller, function) = (word(at.caller), word(at.function));
            let one = Goroutine { status, reason: reason.copied(), caller, function };
            *out.entry(one).or_default() += 1;
        }
        Some(out)
    }
}

struct Memory {
    file: File,
    bias: u64,
}

impl Memory {
    /// The word at a link-time address.
    fn linked(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, self.bias.wrapping_add(address)).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Reads this process as if its list of goroutines were here.
    fn read(list: &[u64; 3]) -> Option<BTreeMap<Goroutine, u64>> {
        let exe = Path::new("/proc/self/exe");
        let goroutine = gobinary::runtime_layout::GoroutineLayout {
            id: 8,
            status: 0,
            wait_reason: 4,
            caller: 16,
            function: 24,
            wait_reason_labels: &[],
        };
        let state = RuntimeLayout { allgs: list.as_ptr() as u64, goroutine, total_alloc: None };
        let reader = Reader { object: Arc::new(Object::open(exe, exe).unwrap()), state };
        reader.goroutines(&Memory { file: File::open("/proc/self/mem").unwrap(), bias: 0 })
    }

    fn goroutine(status: u64, id: u64) -> [u64; 4] {
        [status, id, 0x1000, 0x2000]
    }

    #[test]
    fn goroutines_are_counted_by_what_they_have_in_common() {
        let all = [
            goroutine(2, 1),
            goroutine(4, 2),
            goroutine(4, 3),
            goroutine(6, 4),
            goroutine(0x1001, 5),
        ];
        let pointers: Vec<u64> = all.iter().map(|g| g.as_ptr() as u64).collect();
        let seen = read(&[pointers.as_ptr() as u64, 5, 8]).unwrap();
        let counts: Vec<(GoroutineStatus, u64)> =
            seen.iter().map(|(g, count)| (g.status, *count)).collect();
        assert_eq!(
            counts,
            [
                (GoroutineStatus::Runnable, 1),
                (GoroutineStatus::Running, 1),
                (GoroutineStatus::Waiting, 2)
            ]
        );
        assert!(seen.keys().all(|g| (g.caller, g.function, g.reason) == (0x1000, 0x2000, None)));
    }

    #[test]
    fn lists_that_lie() {
        let (main, other) = (goroutine(4, 1), goroutine(4, 7));
        let of = |pointers: &[u64], length, capacity| {
            read(&[pointers.as_ptr() as u64, length, capacity])
        };
        let at = |goroutine: &[u64; 4]| goroutine.as_ptr() as u64;
        assert_eq!(of(&[at(&other)], 1, 1), None, "the first is not main's");
        assert_eq!(of(&[at(&main), at(&other)], 2, 1), None, "longer than its room");
        assert_eq!(of(&[at(&main)], u64::MAX, u64::MAX), None, "more than there can be");
        assert_eq!(of(&[at(&main)], 0, 1), None, "not begun");
        for wild in [0, 1, u64::MAX, u64::MAX - 7, 1 << 63] {
            assert_eq!(of(&[at(&main), wild], 2, 2), None, "{wild:#x}");
            assert_eq!(read(&[wild, 1, 1]), None, "{wild:#x}");
        }
    }
}
