//! Notifications of dynamic linkers: a program at the function `_dl_debug_state` writes process ids to
//! a ring buffer.
//!
//! The linkers of glibc and musl call this empty function for debuggers, when they are about to map
//! libraries and when the libraries are mapped, and before any code of them runs; so does
//! `rtld_db_dlactivity` of Bionic. It runs a few times in each process, so that what a uprobe on it
//! costs does not matter.
//!
//! # Stopped processes
//!
//! A process that this tracer has started can be stopped with SIGSTOP until the tracer has attached
//! to the libraries. The signal is delivered when the process returns from the uprobe. So no hit is
//! lost. SIGCONT discards a SIGSTOP that is not delivered yet.
//!
//! If the tracer is killed, the kernel continues the process (see `target/pending_child.rs`), but the
//! links stay until the last thread of the tracer has closed them. So the program looks at the parent
//! of the process after SIGSTOP, and sends SIGCONT as well if that is not the tracer any more. If the
//! tracer ends after that look, the kernel's SIGCONT comes after the SIGSTOP.

use super::detect::link_method;
use super::links::{LinkMethod, Mechanism};
use super::load::load;
use super::maps::{create_map, create_ring};
use super::parent_check::ParentCheck;
use super::pid_namespace;
use super::process_tree::ProcessTree;
use super::site_changes::Link;
use super::transport::{RecordReader as _, RingBuf};
use crate::bpf::asm::{Assembler, Cond, Insn, JumpError, R0, R1, R2, R3, R4, R8, R9, R10, Width};
use crate::bpf::codegen::pid_namespace::{IDS, store_ids};
use crate::bpf::syscall::{self, UprobeSite};
use crate::bpf::uapi::{BPF_F_NO_PREALLOC, BPF_MAP_TYPE_HASH, BPF_TRACE_UPROBE_MULTI};
use crate::bpf::{Map, PidNamespace, Shape, helper};
use crate::discover::Linker;
use crate::error::{Error, Result};
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

/// Size of the ring buffer in bytes.
const BUFFER: u32 = 1 << 16;
/// Number of records that fit into the ring buffer: each has 8 bytes after a header of 8. The kernel
/// leaves at least one byte free.
const CAPACITY: usize = BUFFER as usize / 16 - 1;
/// The number of processes that can be named one by one.
const MAX_PROCESSES: u32 = 1 << 16;
/// The number of links. Any user can start programs with linkers of their own.
const MAX_LINKS: usize = 32;

/// A source of the ids of processes whose dynamic linker maps libraries.
#[derive(Debug)]
pub(crate) struct LinkerEvents {
    links: Vec<Link>,
    program: OwnedFd,
    method: LinkMethod,
    ring: RingBuf,
    /// The processes by id, if they are named one by one or those of a tree. The value is 1 for a
    /// process that is stopped.
    named: Option<Map>,
    /// True if the kernel adds the processes.
    has_tree: bool,
}

impl LinkerEvents {
    /// Prepares notifications: of all processes; if they are `named`, of those that
    /// [`LinkerEvents::add`] names; or of those in a tree.
    ///
    /// # Errors
    ///
    /// `Permission`, `Unsupported` or `Kernel` if the kernel rejects a map or the program.
    pub(crate) fn new(named: bool, tree: Option<&ProcessTree>) -> Result<LinkerEvents> {
        let ring = create_ring(c"usdt_linkers", BUFFER)?;
        let shape = Shape {
            kind: BPF_MAP_TYPE_HASH,
            key: 4,
            value: 4,
            entries: MAX_PROCESSES,
            flags: BPF_F_NO_PREALLOC,
        };
        let named = match tree {
            Some(tree) => Some(tree.share()?),
            None => named.then(|| create_map(c"usdt_processes", shape)).transpose()?,
        };
        let namespace = pid_namespace::own()?;
        let code = program(&ring, named.as_ref(), namespace.as_ref())
            .map_err(|JumpError| Error::unsupported("a BPF program has an invalid jump"))?;
        let method = link_method(Mechanism::Auto);
        let attach_type = match method {
            LinkMethod::UprobeMulti { .. } => BPF_TRACE_UPROBE_MULTI,
            LinkMethod::PerfEvents | LinkMethod::ProgramPerSite => 0,
        };
        let program = load(&code, attach_type)?;
        Ok(LinkerEvents {
            links: Vec::new(),
            program,
            method,
            ring: RingBuf::new(&ring)?,
            named,
            has_tree: tree.is_some(),
        })
    }

    /// Watches a dynamic linker, in one process or, if `pid` is 0, in all.
    ///
    /// # Errors
    ///
    /// `Kernel` or `Permission` if the kernel rejects the link; `ResourceLimit` if there are too
    /// many.
    pub(crate) fn watch(&mut self, linker: &Linker, pid: u32) -> Result<()> {
        let failed = Error::kernel_rejected("cannot attach to the dynamic linker");
        if self.links.len() >= MAX_LINKS {
            return Err(failed(std::io::Error::from_raw_os_error(libc::EMFILE)));
        }
        let path = linker.object.kernel_path().into_os_string().into_encoded_bytes();
        let path = CString::new(path).map_err(|error| failed(error.into()))?;
        let failed = Error::kernel_rejected("cannot attach to the dynamic linker");
        if let LinkMethod::UprobeMulti { filters_processes } = self.method {
            let site = UprobeSite { offset: linker.offset, semaphore: 0, cookie: 0 };
            let pid = if filters_processes { pid } else { 0 };
            let program = self.program.as_fd();
            let create = || syscall::link_uprobe_multi(program, &path, &[site], pid);
            self.links.push(Link::create(create).map_err(failed)?);
            return Ok(());
        }
        let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type");
        let kind = kind.ok().and_then(|kind| kind.trim().parse().ok()).unwrap_or_default();
        let create = || {
            let event = syscall::perf_event_uprobe(kind, &path, linker.offset, 0, pid)?;
            syscall::perf_event_run(event.as_fd(), self.program.as_fd())?;
            Ok(event)
        };
        self.links.push(Link::create(create).map_err(failed)?);
        Ok(())
    }

    /// Also reports this process. If it `stops`, each call of the linker also stops it.
    ///
    /// # Errors
    ///
    /// `Kernel` if there are too many processes.
    pub(crate) fn add(&self, pid: u32, stops: bool) -> Result<()> {
        let Some(named) = &self.named else { return Ok(()) };
        let (key, value) = (pid.to_ne_bytes(), u32::from(stops).to_ne_bytes());
        let result = match self.has_tree {
            // A process that has exited must not get into the tree again.
            true => named.replace(&key, &value).map(drop),
            false => named.update(&key, &value),
        };
        result.map_err(Error::kernel_rejected("cannot add a process to those that are followed"))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }

    /// Ends the notifications. Those that were written can still be read.
    pub(crate) fn stop(&mut self) {
        self.links.clear();
    }

    /// Adds the processes whose linkers have mapped libraries since the last call; sorts `pids` and removes
    /// duplicates. Returns false if some may be missing, because the ring buffer was full.
    pub(crate) fn drain(&mut self, pids: &mut Vec<u32>) -> Result<bool> {
        let mut records = 0;
        while self.ring.advance()? {
            records += 1;
            let id = self.ring.record().first_chunk::<4>().map(|raw| u32::from_ne_bytes(*raw));
            pids.extend(id);
            // A process that loads libraries without end must not keep this from returning.
            if records >= CAPACITY {
                break;
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(records < CAPACITY)
    }
}

/// The place on the stack of the process id.
const PID: i16 = -8;

fn program(
    ring: &Map,
    named: Option<&Map>,
    namespace: Option<&PidNamespace>,
) -> std::result::Result<Vec<Insn>, JumpError> {
    let mut asm = Assembler::default();
    let done = asm.label();
    match namespace {
        None => {
            asm.call(helper::GET_CURRENT_PID_TGID);
            asm.shr(R0, 32);
            asm.mov(R8, R0);
        }
        Some(namespace) => {
            store_ids(&mut asm, namespace);
            asm.load(Width::W, R8, R10, IDS + 4);
            asm.jump_if(Cond::Eq, R8, 0, done);
        }
    }
    asm.store_imm(Width::Dw, R10, PID, 0);
    asm.store(Width::W, R10, PID, R8);
    asm.mov_imm(R9, 0);
    if let Some(named) = named {
        asm.map(R1, named.as_fd().as_raw_fd());
        asm.mov(R2, R10);
        asm.add_imm(R2, PID.into());
        asm.call(helper::MAP_LOOKUP_ELEM);
        asm.jump_if(Cond::Eq, R0, 0, done);
        asm.load(Width::W, R9, R0, 0);
    }
    asm.map(R1, ring.as_fd().as_raw_fd());
    asm.mov(R2, R10);
    asm.add_imm(R2, PID.into());
    asm.mov_imm(R3, 8);
    asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
    asm.call(helper::RINGBUF_OUTPUT);
    // A process whose notification is lost must not be stopped: nothing would continue it.
    asm.jump_if(Cond::Ne, R0, 0, done);
    asm.jump_if(Cond::Eq, R9, 0, done);
    asm.mov_imm(R1, libc::SIGSTOP);
    asm.call(helper::SEND_SIGNAL);
    if let Some(check) = named.and_then(|_| ParentCheck::find()) {
        check.jump_if_child(&mut asm, done);
        asm.mov_imm(R1, libc::SIGCONT);
        asm.call(helper::SEND_SIGNAL);
    }
    asm.place(done);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish()
}
