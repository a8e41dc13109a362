//! Processes and the children that they fork, as the kernel keeps them.
//!
//! A hash has the ids of the processes. A program at the tracepoint `sched_process_fork` adds the
//! child of a process in it, before the child runs its first instruction, and a program at
//! `sched_process_exit` removes a process with its last thread. Programs at probe sites look their
//! process up in the hash, so no hit of a child is lost.
//!
//! The ids are those of this process's PID namespace.

use super::load::{load_tracepoint, small_program};
use super::maps::{create_map, create_ring, page};
use super::transport::{RecordReader as _, RingBuf};
use super::{btf, pid_namespace};
use crate::bpf::asm::{Assembler, Cond, Label, R0, R1, R2, R3, R4, R6, R7, R8, R10, Width};
use crate::bpf::codegen::pid_namespace::{IDS, UPID_LEN, read_kernel, store_ids};
use crate::bpf::uapi::{BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH};
use crate::bpf::{Map, PidNamespace, Shape, helper, syscall};
use crate::error::{Error, ErrorKind, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of processes that are followed at a time.
const MAX_PROCESSES: u32 = 1 << 14;

/// Offsets from the frame pointer: the id of a process, which is the key in the hash, and a value.
const KEY: i16 = -4;
const VALUE: i16 = -8;
const WORD: i16 = -16;
/// A copied `struct upid`.
const UPID: i16 = -32;

/// Offsets in the counters.
const FORKED: i32 = 0;
const LOST: i32 = 8;

/// Byte offsets of fields in structures of the kernel.
struct Offsets {
    /// In `task_struct`.
    tgid: i32,
    thread_pid: i32,
    signal: i32,
    /// The number of threads that have not exited, in `signal_struct`.
    live: i32,
}

/// Processes that are followed with the children that they fork. Clones share them.
///
/// The kernel follows forks until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct ProcessTree(Arc<Inner>);

/// Clones are equal.
impl PartialEq for ProcessTree {
    fn eq(&self, other: &ProcessTree) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug)]
struct Inner {
    members: Map,
    counters: Map,
    /// A record for each change, which only wakes the reader.
    ring: Map,
    changes: Mutex<RingBuf>,
    _links: [OwnedFd; 2],
}

impl ProcessTree {
    /// Starts to follow forks. The tree has no process at first.
    ///
    /// # Errors
    ///
    /// `Unsupported` on a kernel without BTF, and in a PID namespace before Linux 5.10; `Permission`
    /// if this process may not load BPF programs.
    pub(crate) fn start() -> Result<ProcessTree> {
        let namespace = pid_namespace::own()?;
        let unsupported = || {
            let kind = ErrorKind::Unsupported { since: Some("5.10") };
            Error::new(
                kind,
                "forks cannot be followed: the kernel does not describe its structures (CONFIG_DEBUG_INFO_BTF)",
            )
        };
        let offsets = offsets().ok_or_else(unsupported)?;
        if namespace.is_some_and(|namespace| namespace.nested.is_none()) {
            return Err(unsupported());
        }
        let shape = Shape {
            kind: BPF_MAP_TYPE_HASH,
            key: 4,
            value: 4,
            entries: MAX_PROCESSES,
            ..Shape::default()
        };
        let members = create_map(c"usdt_processes", shape)?;
        let shape =
            Shape { kind: BPF_MAP_TYPE_ARRAY, key: 4, value: 16, entries: 1, ..Shape::default() };
        let counters = create_map(c"usdt_forks", shape)?;
        let ring = create_ring(c"usdt_changes", page())?;
        let maps = Fds {
            members: members.as_fd().as_raw_fd(),
            counters: counters.as_fd().as_raw_fd(),
            ring: ring.as_fd().as_raw_fd(),
        };
        let fork = small_program(|asm| fork_program(asm, &maps, namespace.as_ref(), &offsets));
        let exit = small_program(|asm| exit_program(asm, &maps, namespace.as_ref(), &offsets));
        let attach = |name: &CStr, code: &[crate::bpf::asm::Insn]| {
            let program = load_tracepoint(code)?;
            syscall::raw_tracepoint_open(name, program.as_fd()).map_err(Error::kernel_rejected(
                format!("cannot attach to the tracepoint {}", name.to_string_lossy()),
            ))
        };
        // A process that is added has the program for its exit already.
        let links = [attach(c"sched_process_exit", &exit)?, attach(c"sched_process_fork", &fork)?];
        Ok(ProcessTree(Arc::new(Inner {
            members,
            counters,
            changes: Mutex::new(RingBuf::new(&ring)?),
            ring,
            _links: links,
        })))
    }

    /// Adds a process. The caller removes it if it has exited before this returns.
    ///
    /// # Errors
    ///
    /// Fails if there are too many processes.
    pub(crate) fn add(&self, pid: u32) -> Result<()> {
        let failed = Error::kernel_rejected(format!("cannot follow the children of process {pid}"));
        self.0.members.update(&pid.to_ne_bytes(), &0u32.to_ne_bytes()).map_err(failed)
    }

    /// Removes a process.
    pub(crate) fn remove(&self, pid: u32) {
        // It is not there if the kernel has seen its exit.
        let _ = self.0.members.delete(&pid.to_ne_bytes());
    }

    /// Returns the ids of the processes that have not exited, in ascending order.
    ///
    /// # Errors
    ///
    /// Fails when the map cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let keys = self.0.members.keys();
        let keys = keys.map_err(Error::kernel_rejected("cannot read the followed processes"))?;
        let ids = keys.iter().filter_map(|key| key.first_chunk());
        let mut ids: Vec<u32> = ids.map(|raw| u32::from_ne_bytes(*raw)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Returns the number of children that were forked so far, and how many of them are not followed
    /// because there were too many processes.
    ///
    /// # Errors
    ///
    /// Fails when the map cannot be read.
    pub fn forks(&self) -> Result<Forks> {
        let mut values = self.0.counters.buffer();
        self.0
            .counters
            .lookup(&[0; 4], &mut values)
            .map_err(Error::kernel_rejected("cannot read the number of forks"))?;
        let value = |index: usize| values.get(index).copied().unwrap_or(0);
        Ok(Forks { forked: value(0), lost: value(1) })
    }

    /// A descriptor that becomes readable when a process is added or exits.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.ring.as_fd()
    }

    /// Returns true if a process was added or has exited since the last call.
    pub(crate) fn has_changed(&self) -> Result<bool> {
        let mut changes = self.0.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_changed = false;
        while changes.advance()? {
            has_changed = true;
        }
        changes.release();
        Ok(has_changed)
    }

    /// Returns the hash of processes. Its values are for the caller; the kernel adds children with 0.
    ///
    /// # Errors
    ///
    /// `ResourceLimit` if there are no descriptors left.
    pub(crate) fn share(&self) -> Result<Map> {
        let map = self.members().try_clone_to_owned();
        map.and_then(|map| Map::with_shape(map, self.0.members.shape()))
            .map_err(|error| Error::kernel("cannot share a BPF map", error))
    }

    /// The descriptor of the hash of processes.
    pub(crate) fn members(&self) -> BorrowedFd<'_> {
        self.0.members.as_fd()
    }
}

/// Numbers of forks in a [`ProcessTree`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forks {
    /// Children that were forked, including those that have exited.
    pub forked: u64,
    /// Children that are not followed because there were too many processes.
    pub lost: u64,
}

fn offsets() -> Option<Offsets> {
    let task = btf::field_offsets("task_struct", ["tgid", "thread_pid", "signal"])?;
    let [live] = btf::field_offsets("signal_struct", ["live"])?;
    let [tgid, thread_pid, signal] = task.map(|offset| i32::try_from(offset).unwrap_or(0));
    Some(Offsets { tgid, thread_pid, signal, live: i32::try_from(live).ok()? })
}

/// The maps of the programs.
struct Fds {
    members: RawFd,
    counters: RawFd,
    ring: RawFd,
}

/// Ends the program unless the running process is in the hash. Its id is the key.
fn require_member(asm: &mut Assembler, maps: &Fds, namespace: Option<&PidNamespace>, done: Label) {
    match namespace {
        Some(namespace) => {
            store_ids(asm, namespace);
            asm.load(Width::W, R0, R10, IDS + 4);
        }
        None => {
            asm.call(helper::GET_CURRENT_PID_TGID);
            asm.shr(R0, 32);
        }
    }
    asm.store(Width::W, R10, KEY, R0);
    map_and_key(asm, maps.members);
    asm.call(helper::MAP_LOOKUP_ELEM);
    asm.jump_if(Cond::Eq, R0, 0, done);
}

/// `r1 = map, r2 = key`.
fn map_and_key(asm: &mut Assembler, map: RawFd) {
    asm.map(R1, map);
    asm.mov(R2, R10);
    asm.add_imm(R2, KEY.into());
}

/// Wakes the reader.
fn notify(asm: &mut Assembler, maps: &Fds) {
    asm.map(R1, maps.ring);
    asm.mov(R2, R10);
    asm.add_imm(R2, VALUE.into());
    asm.mov_imm(R3, 8);
    asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
    asm.call(helper::RINGBUF_OUTPUT);
}

/// The program at `sched_process_fork(parent, child)`, which the parent runs.
fn fork_program(
    asm: &mut Assembler,
    maps: &Fds,
    namespace: Option<&PidNamespace>,
    offsets: &Offsets,
) {
    let (done, added) = (asm.label(), asm.label());
    asm.mov(R6, R1);
    asm.store_imm(Width::W, R10, VALUE, 0);
    require_member(asm, maps, namespace, done);
    asm.load(Width::Dw, R7, R6, 8);
    read_kernel(asm, WORD, 4, R7, offsets.tgid);
    asm.load(Width::W, R8, R10, WORD);
    // A thread belongs to the same process.
    asm.call(helper::GET_CURRENT_PID_TGID);
    asm.shr(R0, 32);
    asm.jump_if_reg(Cond::Eq, R0, R8, done);
    if let Some(nested) = namespace.and_then(|namespace| namespace.nested) {
        read_kernel(asm, WORD, 8, R7, offsets.thread_pid);
        asm.load(Width::Dw, R8, R10, WORD);
        read_kernel(asm, UPID, UPID_LEN, R8, nested.upid);
        asm.load(Width::W, R8, R10, UPID);
    }
    asm.store(Width::W, R10, KEY, R8);
    map_and_key(asm, maps.members);
    asm.mov(R3, R10);
    asm.add_imm(R3, VALUE.into());
    asm.mov_imm(R4, 0);
    asm.call(helper::MAP_UPDATE_ELEM);
    asm.mov(R6, R0);
    asm.mov_imm(R2, 1);
    asm.map_value_at(R1, maps.counters, FORKED);
    asm.atomic_add(R1, 0, R2);
    asm.jump_if(Cond::Eq, R6, 0, added);
    asm.map_value_at(R1, maps.counters, LOST);
    asm.atomic_add(R1, 0, R2);
    asm.jump(done);
    asm.place(added);
    notify(asm, maps);
    asm.place(done);
}

/// The program at `sched_process_exit(task)`, which each thread runs when it exits.
fn exit_program(
    asm: &mut Assembler,
    maps: &Fds,
    namespace: Option<&PidNamespace>,
    offsets: &Offsets,
) {
    let done = asm.label();
    asm.mov(R6, R1);
    asm.store_imm(Width::W, R10, VALUE, 0);
    require_member(asm, maps, namespace, done);
    asm.load(Width::Dw, R7, R6, 0);
    read_kernel(asm, WORD, 8, R7, offsets.signal);
    asm.load(Width::Dw, R8, R10, WORD);
    read_kernel(asm, WORD, 4, R8, offsets.live);
    asm.load(Width::W, R0, R10, WORD);
    asm.jump_if(Cond::Ne, R0, 0, done);
    map_and_key(asm, maps.members);
    asm.call(helper::MAP_DELETE_ELEM);
    notify(asm, maps);
    asm.place(done);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    #[test]
    fn follows_forks_until_the_last_process_exits() {
        let tree = match ProcessTree::start() {
            Ok(tree) => tree,
            Err(error) if matches!(error.kind(), ErrorKind::Permission) => return,
            Err(error) => panic!("{error:#}"),
        };
        let mut shell = Command::new("sh")
            .args(["-c", "read line; sleep 60 & echo $!; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tree.add(shell.id()).unwrap();
        assert_eq!(tree.processes().unwrap(), [shell.id()]);
        assert!(!tree.has_changed().unwrap());
        shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let child: u32 = line.trim().parse().unwrap();
        let mut both = [shell.id(), child];
        both.sort_unstable();
        assert_eq!(tree.processes().unwrap(), both);
        assert!(tree.has_changed().unwrap());
        assert_eq!(tree.forks().unwrap(), Forks { forked: 1, lost: 0 });
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(tree.processes().unwrap(), [child], "a child that lost its parent");
        assert!(Command::new("kill").arg(child.to_string()).status().unwrap().success());
        while !tree.processes().unwrap().is_empty() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn does_not_add_a_removed_process_again() {
        let Ok(tree) = ProcessTree::start() else { return };
        tree.add(7).unwrap();
        let shared = tree.share().unwrap();
        assert!(shared.replace(&7u32.to_ne_bytes(), &1u32.to_ne_bytes()).unwrap());
        tree.remove(7);
        assert!(!shared.replace(&7u32.to_ne_bytes(), &1u32.to_ne_bytes()).unwrap());
        assert!(tree.processes().unwrap().is_empty());
    }
}
