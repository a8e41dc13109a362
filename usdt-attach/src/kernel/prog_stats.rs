//! Statistics of BPF programs: the number of their runs and the time they took (Linux 5.8).

use crate::bpf::syscall;
use crate::error::{Error, Result};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Enables run-time statistics of BPF programs while it lives.
///
/// The kernel measures every BPF program on the host then, which makes each run a little slower. A
/// session returns the statistics of its programs.
#[derive(Debug)]
pub struct BpfStatsGuard {
    _fd: OwnedFd,
}

impl BpfStatsGuard {
    /// Enables the statistics (Linux 5.8).
    ///
    /// # Errors
    ///
    /// `Permission` without `CAP_SYS_ADMIN`; `Unsupported` or `Kernel` on older kernels.
    pub fn start() -> Result<BpfStatsGuard> {
        let fd = syscall::enable_run_time_stats()
            .map_err(Error::kernel_rejected("cannot enable run-time statistics of BPF programs"))?;
        Ok(BpfStatsGuard { _fd: fd })
    }
}

/// Returns the number of measured runs of a program, and the nanoseconds that they took.
pub(crate) fn run_time(program: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let info = syscall::prog_info(program)
        .map_err(Error::kernel_rejected("cannot read the statistics of a BPF program"))?;
    Ok((info.run_cnt, info.run_time_ns))
}
