//! How long programs take: the kernel measures it as long as somebody asks for it (Linux 5.8).
#![allow(unsafe_code)] // libbpf calls; pointers live through the call

use crate::error::{Error, Result};
use libbpf_sys as bpf;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// While this lives, the kernel measures.
pub struct BpfStatsGuard {
    _fd: OwnedFd,
}

impl BpfStatsGuard {
    pub fn start() -> Result<BpfStatsGuard> {
        // SAFETY: takes a number.
        let fd = unsafe { bpf::bpf_enable_stats(bpf::BPF_STATS_RUN_TIME) };
        if fd < 0 {
            return Err(super::capabilities::explain(Error::errno(
                "cannot have the kernel measure BPF programs",
                fd,
            )));
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(BpfStatsGuard { _fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }
}

/// Runs of a program since it was loaded and measured, and the nanoseconds they took.
pub fn run_time(program: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let mut info = bpf::bpf_prog_info::default();
    let mut size = size_of::<bpf::bpf_prog_info>() as u32;
    // SAFETY: `info` has `size` bytes and asks for no arrays.
    let code =
        unsafe { bpf::bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &raw mut size) };
    if code < 0 {
        return Err(Error::errno("cannot ask how long a program took", code));
    }
    Ok((info.run_cnt, info.run_time_ns))
}
