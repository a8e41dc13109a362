//! What this kernel can do, found out by asking it.
#![allow(unsafe_code)] // system calls without memory arguments, and libbpf's link creation

use super::load::load;
use crate::backend::embedded::asm::Insn;
use crate::plan::Optimisation;
use libbpf_sys as bpf;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How the kernel optimises probes on no-ops: the `uprobe` system call, made outside its trampoline, answers
/// with an error that tells.
pub fn optimisation() -> Optimisation {
    #[cfg(target_arch = "x86_64")]
    {
        const SYS_UPROBE: libc::c_long = 336;
        // SAFETY: takes no arguments; outside the trampoline it only fails.
        let code = unsafe { libc::syscall(SYS_UPROBE) };
        if code == -1 {
            return match io::Error::last_os_error().raw_os_error() {
                Some(libc::ENXIO) => Optimisation::Nop5,
                Some(libc::EPROTO) => Optimisation::Nop10,
                _ => Optimisation::None,
            };
        }
    }
    Optimisation::None
}

/// How far the kernel's multi-uprobe links go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MultiLinks {
    /// None (before Linux 6.6).
    Missing,
    /// There, but their process filter picks one thread (fixed in mid-2024).
    ThreadFilter,
    /// There and right.
    Full,
}

/// Tries links that must fail and looks how: a directory is no binary (`EBADF`), and a kernel with the right
/// process filter refuses the process id -1 before it looks at the path (`EINVAL`).
pub(super) fn multi_links() -> MultiLinks {
    let code = [
        Insn { code: 0xb7, dst: 0, src: 0, off: 0, imm: 0 },
        Insn { code: 0x95, dst: 0, src: 0, off: 0, imm: 0 },
    ];
    let Ok(program) = load(&code, bpf::BPF_TRACE_UPROBE_MULTI) else { return MultiLinks::Missing };
    let probe = |pid: u32| {
        let offset: std::ffi::c_ulong = 0;
        let mut options = bpf::bpf_link_create_opts {
            sz: size_of::<bpf::bpf_link_create_opts>() as _,
            ..Default::default()
        };
        options.__bindgen_anon_1.uprobe_multi = bpf::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
            cnt: 1,
            path: c"/".as_ptr(),
            offsets: &raw const offset,
            pid,
            ..Default::default()
        };
        // SAFETY: path and offsets outlive the call.
        let fd = unsafe {
            bpf::bpf_link_create(program.as_raw_fd(), -1, bpf::BPF_TRACE_UPROBE_MULTI, &raw const options)
        };
        if fd >= 0 {
            // SAFETY: a fresh descriptor that nobody else owns; dropped at once.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        -fd
    };
    match (probe(0), probe(u32::MAX)) {
        (libc::EBADF, libc::EINVAL) => MultiLinks::Full,
        (libc::EBADF, _) => MultiLinks::ThreadFilter,
        _ => MultiLinks::Missing,
    }
}
