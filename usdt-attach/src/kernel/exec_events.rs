//! Being told of every `exec`: a program at the kernel's tracepoint writes the process id into a buffer.
#![allow(unsafe_code)] // libbpf's raw tracepoint; pointers live through the call

use super::load::load_tracepoint;
use super::maps::create_ring;
use super::transport::RecordReader as _;
use super::transport::ringbuf::RingBuf;
use crate::bpf::asm::{Assembler, R0, R1, R2, R3, R4, R10, Width};
use crate::bpf::helper;
use crate::error::{Error, Result};
use libbpf_sys as bpf;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Bytes of the buffer: four thousand calls at once.
const BUFFER: u32 = 1 << 16;

/// Process ids of those that call `exec`, anywhere on the host.
pub(crate) struct ExecEvents {
    _link: OwnedFd,
    ring: RingBuf,
}

impl std::fmt::Debug for ExecEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecEvents").finish_non_exhaustive()
    }
}

#[allow(unsafe_code)]
// SAFETY: the reader owns its descriptors and mappings.
unsafe impl Send for ExecEvents {}

impl ExecEvents {
    pub(crate) fn start() -> Result<ExecEvents> {
        super::silence_libbpf();
        let map = create_ring(c"usdt_exec", BUFFER)?;
        let mut asm = Assembler::default();
        asm.call(helper::GET_CURRENT_PID_TGID);
        asm.store(Width::Dw, R10, -8, R0);
        asm.map(R1, map.as_raw_fd());
        asm.mov(R2, R10);
        asm.add_imm(R2, -8);
        asm.mov_imm(R3, 8);
        asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
        asm.call(helper::RINGBUF_OUTPUT);
        asm.mov_imm(R0, 0);
        asm.exit();
        let code = asm.finish().map_err(|_| Error::unsupported("a jump to nowhere"))?;
        let program = load_tracepoint(&code)?;
        // SAFETY: the name outlives the call.
        let link =
            unsafe { bpf::bpf_raw_tracepoint_open(c"sched_process_exec".as_ptr(), program.as_raw_fd()) };
        if link < 0 {
            return Err(Error::errno("cannot watch for exec", link));
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let link = unsafe { OwnedFd::from_raw_fd(link) };
        Ok(ExecEvents { _link: link, ring: RingBuf::new(map)? })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }

    /// Adds the processes since the last call.
    pub(crate) fn drain(&mut self, pids: &mut Vec<u32>) -> Result<()> {
        while self.ring.consume(false, &mut |record| {
            pids.extend(record.first_chunk::<8>().map(|raw| (u64::from_le_bytes(*raw) >> 32) as u32));
        })? {}
        pids.sort_unstable();
        pids.dedup();
        Ok(())
    }
}
