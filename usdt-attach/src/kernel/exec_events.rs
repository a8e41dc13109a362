//! Notifications of `exec`: a program at the tracepoint `sched_process_exec` writes process ids to
//! a ring buffer (Linux 4.17). The ids are those of this process's PID namespace; processes outside it
//! are left out.

use super::load::{load_tracepoint, small_program};
use super::maps::create_ring;
use super::pid_namespace;
use super::process_tree::ProcessTree;
use super::transport::{RecordReader as _, RingBuf};
use crate::bpf::asm::{Cond, R0, R1, R2, R3, R4, R10, Width};
use crate::bpf::codegen::pid_namespace::{IDS, store_ids};
use crate::bpf::{helper, syscall};
use crate::error::{Error, Result};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

/// Size of the ring buffer in bytes.
const BUFFER: u32 = 1 << 16;
/// Number of records that fit into the ring buffer: each has 8 bytes after a header of 8. The kernel
/// leaves at least one byte free.
const CAPACITY: usize = BUFFER as usize / 16 - 1;

/// A source of the ids of processes that call `exec`, anywhere in this PID namespace.
#[derive(Debug)]
pub(crate) struct ExecEvents {
    _link: OwnedFd,
    ring: RingBuf,
}

impl ExecEvents {
    /// Starts the reports: of all processes or, if there is a tree, of those in it.
    ///
    /// # Errors
    ///
    /// `Permission`, `Unsupported` or `Kernel` if the kernel rejects the ring buffer or the program.
    pub(crate) fn start(tree: Option<&ProcessTree>) -> Result<ExecEvents> {
        let map = create_ring(c"usdt_exec", BUFFER)?;
        let namespace = pid_namespace::own()?;
        let program = load_tracepoint(&small_program(|asm| {
            let outside = asm.label();
            let ids = match &namespace {
                Some(namespace) => {
                    store_ids(asm, namespace);
                    asm.load(Width::W, R1, R10, IDS + 4);
                    asm.jump_if(Cond::Eq, R1, 0, outside);
                    IDS
                }
                None => {
                    asm.call(helper::GET_CURRENT_PID_TGID);
                    asm.store(Width::Dw, R10, -8, R0);
                    -8
                }
            };
            if let Some(tree) = tree {
                asm.map(R1, tree.members().as_raw_fd());
                asm.mov(R2, R10);
                asm.add_imm(R2, i32::from(ids) + 4);
                asm.call(helper::MAP_LOOKUP_ELEM);
                asm.jump_if(Cond::Eq, R0, 0, outside);
            }
            asm.map(R1, map.as_fd().as_raw_fd());
            asm.mov(R2, R10);
            asm.add_imm(R2, ids.into());
            asm.mov_imm(R3, 8);
            asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
            asm.call(helper::RINGBUF_OUTPUT);
            asm.place(outside);
        }))?;
        let link = syscall::raw_tracepoint_open(c"sched_process_exec", program.as_fd()).map_err(
            Error::kernel_rejected("cannot attach to the tracepoint sched_process_exec"),
        )?;
        Ok(ExecEvents { _link: link, ring: RingBuf::new(&map)? })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }

    /// Adds the processes that have called `exec` since the last call, once for each call. Returns
    /// false if some may be missing, because the ring buffer was full.
    pub(crate) fn drain(&mut self, pids: &mut Vec<u32>) -> Result<bool> {
        let mut records = 0;
        while self.ring.advance()? {
            records += 1;
            let id = self.ring.record().first_chunk::<8>().map(|raw| u64::from_le_bytes(*raw));
            pids.extend(id.map(|id| (id >> 32) as u32));
        }
        Ok(records < CAPACITY)
    }
}
