//! Notifications of `exec`: a program at the tracepoint `sched_process_exec` writes process ids to
//! a ring buffer (Linux 4.17).

use super::load::{load_tracepoint, small_program};
use super::maps::create_ring;
use super::transport::{RecordReader as _, RingBuf};
use crate::bpf::asm::{R0, R1, R2, R3, R4, R10, Width};
use crate::bpf::{helper, syscall};
use crate::error::{Error, Result};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

/// Size of the ring buffer in bytes.
const BUFFER: u32 = 1 << 16;
/// Number of records that fit into the ring buffer: each has 8 bytes after a header of 8. The kernel
/// leaves at least one byte free.
const CAPACITY: usize = BUFFER as usize / 16 - 1;

/// A source of the ids of processes that call `exec`, anywhere on the host.
#[derive(Debug)]
pub(crate) struct ExecEvents {
    _link: OwnedFd,
    ring: RingBuf,
}

impl ExecEvents {
    pub(crate) fn start() -> Result<ExecEvents> {
        let map = create_ring(c"usdt_exec", BUFFER)?;
        let program = load_tracepoint(&small_program(|asm| {
            asm.call(helper::GET_CURRENT_PID_TGID);
            asm.store(Width::Dw, R10, -8, R0);
            asm.map(R1, map.as_fd().as_raw_fd());
            asm.mov(R2, R10);
            asm.add_imm(R2, -8);
            asm.mov_imm(R3, 8);
            asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
            asm.call(helper::RINGBUF_OUTPUT);
        }))?;
        let link = syscall::raw_tracepoint_open(c"sched_process_exec", program.as_fd()).map_err(
            Error::kernel_rejected("cannot attach to the tracepoint sched_process_exec"),
        )?;
        Ok(ExecEvents { _link: link, ring: RingBuf::new(&map)? })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }

    /// Adds the processes that have called `exec` since the last call; sorts `pids` and removes
    /// duplicates. Returns false if some may be missing, because the ring buffer was full.
    pub(crate) fn drain(&mut self, pids: &mut Vec<u32>) -> Result<bool> {
        let mut records = 0;
        while self.ring.advance()? {
            records += 1;
            let id = self.ring.record().first_chunk::<8>().map(|raw| u64::from_le_bytes(*raw));
            pids.extend(id.map(|id| (id >> 32) as u32));
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(records < CAPACITY)
    }
}
