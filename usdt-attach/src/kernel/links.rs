//! Attaching: one multi-uprobe link per object (and process), or one perf event per site on older kernels.

use super::load::load;
use crate::bpf::Program;
use crate::bpf::syscall::{self, UprobeSite};
use crate::bpf::uapi::BPF_TRACE_UPROBE_MULTI;
use crate::error::{Error, Result};
use crate::plan::{Plan, PlannedObject, Site};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How sites are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// Multi-uprobe links where the kernel has them, else perf events.
    #[default]
    Auto,
    /// `uprobe_multi` links (Linux 6.6).
    UprobeMulti,
    /// Perf events with a BPF cookie (Linux 5.15).
    PerfEvents,
    /// Perf events, each with a program of its own that knows its site (Linux 5.8).
    ProgramPerSite,
}

/// What a [`Mechanism`] comes to on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkMethod {
    /// Links to many sites.
    UprobeMulti {
        /// Whether they can be limited to a process; else the program compares process ids.
        filters_processes: bool,
    },
    /// A perf event for each site, which carries the cookie.
    PerfEvents,
    /// A perf event for each site, and a program for each site.
    ProgramPerSite,
}

impl LinkMethod {
    fn mechanism(self) -> Mechanism {
        match self {
            LinkMethod::UprobeMulti { .. } => Mechanism::UprobeMulti,
            LinkMethod::PerfEvents => Mechanism::PerfEvents,
            LinkMethod::ProgramPerSite => Mechanism::ProgramPerSite,
        }
    }
}

/// Everything attached; dropping it detaches. The kernel does the same when the process is killed.
#[derive(Debug)]
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

    /// Its programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.programs.iter().map(AsFd::as_fd)
    }
}

/// Attaches all sites, or none.
pub(crate) fn attach(plan: &Plan, programs: &[Program], method: LinkMethod) -> Result<Attached> {
    let mut out =
        Attached { links: Vec::new(), programs: Vec::new(), mechanism: method.mechanism() };
    let (attach_type, filters_processes) = match method {
        LinkMethod::UprobeMulti { filters_processes } => {
            (BPF_TRACE_UPROBE_MULTI, filters_processes)
        }
        LinkMethod::PerfEvents | LinkMethod::ProgramPerSite => (0, true),
    };
    let pids: &[u32] = match &plan.pids {
        Some(pids) if filters_processes => pids,
        _ => &[0],
    };
    for program in programs {
        let fd = load(&program.code, attach_type)?;
        for object in &plan.objects {
            let sites: Vec<&Site> = object
                .sites
                .iter()
                .filter(|s| program.cookies.binary_search(&s.cookie).is_ok())
                .collect();
            if sites.is_empty() {
                continue;
            }
            for pid in pids {
                if let LinkMethod::UprobeMulti { .. } = method {
                    out.links.push(multi_link(fd.as_fd(), object, &sites, *pid)?);
                    continue;
                }
                for site in &sites {
                    let event = perf_event(object, site, *pid)?;
                    link(fd.as_fd(), object, site, event, method, &mut out.links)?;
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

fn multi_link(
    program: BorrowedFd<'_>,
    object: &PlannedObject,
    sites: &[&Site],
    pid: u32,
) -> Result<OwnedFd> {
    let site = |site: &&Site| UprobeSite {
        offset: site.offset,
        semaphore: site.semaphore_offset.unwrap_or(0),
        cookie: site.cookie.into(),
    };
    let sites: Vec<UprobeSite> = sites.iter().map(site).collect();
    syscall::link_uprobe_multi(program, &path_of(object)?, &sites, pid).map_err(|error| match error
        .raw_os_error()
    {
        Some(libc::ESRCH) => Error::no_process(pid),
        _ => Error::kernel_rejected(cannot_attach(object))(error),
    })
}

/// One perf event.
fn perf_event(object: &PlannedObject, site: &Site, pid: u32) -> Result<OwnedFd> {
    let path = path_of(object)?;
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")
        .map_err(Error::kernel_rejected("the kernel has no uprobes"))?;
    let semaphore = u32::try_from(site.semaphore_offset.unwrap_or(0)).map_err(|_| {
        Error::object(
            object.path.clone(),
            "its semaphores lie beyond 4 GiB, which this kernel's perf events cannot reach",
        )
    })?;
    let kind = kind.trim().parse().unwrap_or(0);
    syscall::perf_event_uprobe(kind, &path, site.offset, semaphore, pid).map_err(|error| {
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Error::no_process(pid);
        }
        let mut what = cannot_attach(object);
        if error.raw_os_error() == Some(libc::EACCES) {
            // `perf_uprobe_event_init` asked for it before it was content with CAP_PERFMON.
            what.push_str(" by perf events, for which older kernels want CAP_SYS_ADMIN");
        }
        Error::kernel_rejected(what)(error)
    })
}

/// Makes the event run the program: by a link with the cookie or, where the kernel has neither, by itself.
fn link(
    program: BorrowedFd<'_>,
    object: &PlannedObject,
    site: &Site,
    event: OwnedFd,
    method: LinkMethod,
    out: &mut Vec<OwnedFd>,
) -> Result<()> {
    let failed = Error::kernel_rejected(cannot_attach(object));
    if method == LinkMethod::ProgramPerSite {
        syscall::perf_event_run(event.as_fd(), program).map_err(failed)?;
    } else {
        out.push(
            syscall::link_perf_event(program, event.as_fd(), site.cookie.into()).map_err(failed)?,
        );
    }
    out.push(event);
    Ok(())
}
