//! How long programs take: the kernel measures it as long as a process asks for it (Linux 5.8).

use crate::bpf::syscall;
use crate::error::{Error, Result};
use std::os::fd::{BorrowedFd, OwnedFd};

/// While this lives, the kernel measures.
#[derive(Debug)]
pub struct BpfStatsGuard {
    _fd: OwnedFd,
}

impl BpfStatsGuard {
    /// Starts measuring, for every BPF program of the host.
    ///
    /// # Errors
    ///
    /// The kernel rejects it, most often for lack of CAP_SYS_ADMIN, which it wants for this.
    pub fn start() -> Result<BpfStatsGuard> {
        let fd = syscall::enable_run_time_stats();
        Ok(BpfStatsGuard {
            _fd: fd
                .map_err(Error::kernel_rejected("cannot have the kernel measure BPF programs"))?,
        })
    }
}

/// Runs of a program since it was loaded and measured, and the nanoseconds they took.
pub(crate) fn run_time(program: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let info = syscall::prog_info(program)
        .map_err(Error::kernel_rejected("cannot ask how long a program took"))?;
    Ok((info.run_cnt, info.run_time_ns))
}
