//! Attaching: one multi-uprobe link per object (and process), or one perf event per site on older kernels.
#![allow(unsafe_code)] // libbpf's link creation and perf_event_open; pointers live through the call

use super::detect::{self, MultiLinks, multi_links};
use super::load::load;
use crate::bpf::Program;
use crate::error::{Error, Result};
use crate::plan::{Plan, PlannedObject, Site};
use libbpf_sys as bpf;
use std::ffi::{CStr, CString, c_ulong};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// How sites are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// Multi-uprobe links where the kernel has them, else perf events.
    #[default]
    Auto,
    /// `uprobe_multi` links (Linux 6.6).
    Multi,
    /// Perf events with a BPF cookie (Linux 5.15).
    PerfEvents,
    /// Perf events, each with a program of its own that knows its site (Linux 5.8).
    ProgramPerSite,
    /// Likewise, and records go through a perf buffer for each CPU (Linux 5.5).
    PerfBuffer,
}

impl Mechanism {
    /// What is automatic about it, decided as far as programs depend on it.
    pub(crate) fn on_this_kernel(self) -> Mechanism {
        match self {
            Mechanism::Auto if detect::cookies() => Mechanism::Auto,
            Mechanism::Auto if detect::ring() => Mechanism::ProgramPerSite,
            Mechanism::Auto => Mechanism::PerfBuffer,
            chosen => chosen,
        }
    }
}

/// Everything attached; dropping it detaches. The kernel does the same when the process is killed.
pub(crate) struct Attached {
    /// Links first: closing them stops hits.
    links: Vec<OwnedFd>,
    programs: Vec<OwnedFd>,
    /// What was used.
    pub(crate) mechanism: Mechanism,
}

impl Attached {
    /// Stops hits. Programs stay, and what is known of them.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
    }

    /// Whether hits have been stopped.
    pub(crate) fn is_detached(&self) -> bool {
        self.links.is_empty()
    }

    /// Its programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.programs.iter().map(AsFd::as_fd)
    }
}

/// Attaches all sites, or none.
pub(crate) fn attach(plan: &Plan, programs: &[Program], mechanism: Mechanism) -> Result<Attached> {
    let mechanism = mechanism.on_this_kernel();
    let multi = match mechanism {
        Mechanism::PerfEvents | Mechanism::ProgramPerSite | Mechanism::PerfBuffer => MultiLinks::Missing,
        Mechanism::Auto | Mechanism::Multi => multi_links(),
    };
    let attach_type = if multi == MultiLinks::Missing { 0 } else { bpf::BPF_TRACE_UPROBE_MULTI };
    let mut out = Attached {
        links: Vec::new(),
        programs: Vec::new(),
        mechanism: match (multi, mechanism) {
            (MultiLinks::Missing, Mechanism::Auto | Mechanism::Multi) => Mechanism::PerfEvents,
            (MultiLinks::Missing, chosen) => chosen,
            _ => Mechanism::Multi,
        },
    };
    // A filter by thread is no filter; the program compares process ids itself.
    let pids: Vec<u32> = match (&plan.pids, multi) {
        (Some(pids), MultiLinks::Full | MultiLinks::Missing) => pids.clone(),
        _ => vec![0],
    };
    for program in programs {
        let fd = load(&program.code, attach_type)?;
        for object in &plan.objects {
            let sites: Vec<&Site> =
                object.sites.iter().filter(|s| program.cookies.binary_search(&s.cookie).is_ok()).collect();
            if sites.is_empty() {
                continue;
            }
            for pid in &pids {
                if multi == MultiLinks::Missing {
                    for site in &sites {
                        let event = perf_event(object, site, *pid)?;
                        link(fd.as_raw_fd(), object, site, event, out.mechanism, &mut out.links)?;
                    }
                } else {
                    out.links.push(multi_link(fd.as_raw_fd(), object, &sites, *pid)?);
                }
            }
        }
        out.programs.push(fd);
    }
    Ok(out)
}

fn path_of(object: &PlannedObject) -> Result<CString> {
    CString::new(object.object.kernel_path().into_os_string().into_encoded_bytes())
        .map_err(|_| Error::object(object.path.clone(), "its path holds a NUL"))
}

fn cannot_attach(object: &PlannedObject) -> String {
    format!("cannot attach to {}", object.path.display())
}

fn multi_link(program: RawFd, object: &PlannedObject, sites: &[&Site], pid: u32) -> Result<OwnedFd> {
    let path = path_of(object)?;
    let offsets: Vec<c_ulong> = sites.iter().map(|s| s.offset).collect();
    let semaphores: Vec<c_ulong> = sites.iter().map(|s| s.semaphore_offset.unwrap_or(0)).collect();
    let cookies: Vec<u64> = sites.iter().map(|s| u64::from(s.cookie)).collect();
    create_multi(program, &path, &offsets, Some((&semaphores, &cookies)), pid).map_err(|code| match code {
        libc::ESRCH => Error::no_process(pid),
        _ => Error::errno(cannot_attach(object), -code),
    })
}

/// A link to these offsets of a file, with a semaphore and a cookie for each where there are any; or the error's
/// number.
pub(super) fn create_multi(
    program: RawFd,
    path: &CStr,
    offsets: &[c_ulong],
    extras: Option<(&[c_ulong], &[u64])>,
    pid: u32,
) -> std::result::Result<OwnedFd, i32> {
    let mut options =
        bpf::bpf_link_create_opts { sz: size_of::<bpf::bpf_link_create_opts>() as _, ..Default::default() };
    options.__bindgen_anon_1.uprobe_multi = bpf::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
        cnt: offsets.len() as u32,
        path: path.as_ptr(),
        offsets: offsets.as_ptr(),
        ref_ctr_offsets: extras.map_or(std::ptr::null(), |(semaphores, _)| semaphores.as_ptr()),
        cookies: extras.map_or(std::ptr::null(), |(_, cookies)| cookies.as_ptr()),
        pid,
        ..Default::default()
    };
    // SAFETY: the arrays have `cnt` elements each and, with the path, outlive the call.
    let fd = unsafe { bpf::bpf_link_create(program, -1, bpf::BPF_TRACE_UPROBE_MULTI, &raw const options) };
    if fd < 0 {
        return Err(-fd);
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One perf event, which carries the semaphore in the upper half of `config`.
fn perf_event(object: &PlannedObject, site: &Site, pid: u32) -> Result<OwnedFd> {
    const REF_CTR_SHIFT: u32 = 32;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    let path = path_of(object)?;
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")
        .map_err(|source| Error::kernel("the kernel has no uprobes", source))?;
    let semaphore = u32::try_from(site.semaphore_offset.unwrap_or(0)).map_err(|_| {
        Error::object(
            object.path.clone(),
            "its semaphores lie beyond 4 GiB, which this kernel's perf events cannot reach",
        )
    })?;
    // `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER1`, as 64-bit words.
    let mut attr = [0u64; 9];
    attr[0] = kind.trim().parse::<u64>().unwrap_or(0) | (72 << 32);
    attr[1] = u64::from(semaphore) << REF_CTR_SHIFT;
    attr[7] = path.as_ptr() as u64;
    attr[8] = site.offset;
    let (pid, cpu) = if pid == 0 { (-1, 0) } else { (pid as i32, -1) };
    // SAFETY: `attr` has the size its second word says; the path outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), pid, cpu, -1, PERF_FLAG_FD_CLOEXEC)
    };
    if fd < 0 {
        let error = std::io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Err(Error::no_process(u32::try_from(pid).unwrap_or(0)));
        }
        let mut what = cannot_attach(object);
        if error.raw_os_error() == Some(libc::EACCES) {
            // `perf_uprobe_event_init` asked for it before it was content with CAP_PERFMON.
            what.push_str(" by perf events, for which older kernels want CAP_SYS_ADMIN");
        }
        return Err(Error::kernel(what, error));
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes the event run the program: by a link with the cookie or, where the kernel has neither, by itself.
fn link(
    program: RawFd,
    object: &PlannedObject,
    site: &Site,
    event: OwnedFd,
    mechanism: Mechanism,
    out: &mut Vec<OwnedFd>,
) -> Result<()> {
    /// `PERF_EVENT_IOC_SET_BPF` and `PERF_EVENT_IOC_ENABLE` (`include/uapi/linux/perf_event.h`).
    const SET_BPF: libc::c_ulong = 0x4004_2408;
    const ENABLE: libc::c_ulong = 0x2400;
    if matches!(mechanism, Mechanism::ProgramPerSite | Mechanism::PerfBuffer) {
        // SAFETY: both take a number; the descriptors are open.
        let done = unsafe {
            libc::ioctl(event.as_raw_fd(), SET_BPF as _, program) == 0
                && libc::ioctl(event.as_raw_fd(), ENABLE as _, 0) == 0
        };
        if !done {
            return Err(Error::last_os(cannot_attach(object)));
        }
        out.push(event);
        return Ok(());
    }
    let mut options =
        bpf::bpf_link_create_opts { sz: size_of::<bpf::bpf_link_create_opts>() as _, ..Default::default() };
    options.__bindgen_anon_1.perf_event.bpf_cookie = u64::from(site.cookie);
    // SAFETY: descriptors are open, options outlive the call.
    let link =
        unsafe { bpf::bpf_link_create(program, event.as_raw_fd(), bpf::BPF_PERF_EVENT, &raw const options) };
    if link < 0 {
        return Err(Error::errno(cannot_attach(object), link));
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    out.push(unsafe { OwnedFd::from_raw_fd(link) });
    out.push(event);
    Ok(())
}
