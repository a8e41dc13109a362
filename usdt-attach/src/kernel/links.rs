//! Attaching programs to sites: one `uprobe_multi` link per file and process or, on older kernels,
//! one perf event per site.

use super::closing;
use super::descriptors::Reserve;
use super::load::{load, load_sleepable};
use super::site_changes::{Link, change};
use crate::bpf::Program;
use crate::bpf::syscall::{self, UprobeSite};
use crate::bpf::uapi::BPF_TRACE_UPROBE_MULTI;
use crate::discover::no_process;
use crate::error::{Error, Result};
use crate::plan::{Plan, PlannedObject, Site};
use stapsdt::escape::Escaped;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The kernel mechanism by which programs are attached to sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// The best mechanism that the running kernel supports.
    #[default]
    Auto,
    /// One `uprobe_multi` link per file and process (Linux 6.6).
    UprobeMulti,
    /// One perf event per site, with an attach cookie (Linux 5.15). Needs `CAP_SYS_ADMIN` on most
    /// kernels.
    PerfEvents,
    /// One perf event and one program per site (Linux 5.8). Needs `CAP_SYS_ADMIN` on most kernels.
    ProgramPerSite,
}

/// A [`Mechanism`] resolved for the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkMethod {
    /// `uprobe_multi` links.
    UprobeMulti {
        /// True if the kernel can limit a link to a process; otherwise the program compares process
        /// ids.
        filters_processes: bool,
    },
    /// A perf event per site, which carries the attach cookie.
    PerfEvents,
    /// A perf event and a program per site.
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

/// Attached programs. Dropping this detaches them; the kernel does so, too, if the process is
/// killed.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Links and perf events, each with the index of its object in the plan; closing them detaches.
    links: Vec<(usize, Link)>,
    programs: Vec<OwnedFd>,
    /// The mechanism in use.
    pub(crate) mechanism: Mechanism,
}

impl Attached {
    /// Detaches from all sites. The programs stay loaded, so that their statistics can still be
    /// read.
    pub(crate) fn detach(&mut self) {
        closing::close(self.take_links(&|_| true));
    }

    /// Takes the links to the objects with these indexes, which the caller closes.
    pub(crate) fn take_links(&mut self, is_taken: &dyn Fn(usize) -> bool) -> Vec<Link> {
        self.links.extract_if(.., |(object, _)| is_taken(*object)).map(|(_, link)| link).collect()
    }

    /// Closes the programs, which the links keep loaded.
    pub(crate) fn close_programs(&mut self) {
        self.programs.clear();
    }

    /// Returns the programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.programs.iter().map(AsFd::as_fd)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Attaches programs to all sites of a plan, or to none if one fails.
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
        // A link of a process does not report the hits of its children.
        Some(pids) if filters_processes && plan.children.is_none() => pids,
        _ => &[0],
    };
    let reserve = Reserve::of_this_process();
    for program in programs {
        let load = if program.sleepable { load_sleepable } else { load };
        let fd = load(&program.code, attach_type)?;
        for (index, object) in plan.objects.iter().enumerate() {
            let sites: Vec<&Site> = object
                .sites
                .iter()
                .filter(|s| program.cookies.binary_search(&s.cookie).is_ok())
                .collect();
            if sites.is_empty() {
                continue;
            }
            // Closing a link takes about 50 ms, so without room for one none is created.
            let no_room = |e| Error::kernel(cannot_attach(object), e);
            reserve.check(std::slice::from_ref(&fd)).map_err(no_room)?;
            let file = object.open()?;
            let path = CString::new(file.kernel_path().into_os_string().into_encoded_bytes())
                .map_err(|_| Error::object(&object.path, "its path contains a NUL"))?;
            for pid in pids {
                let mut links = Vec::new();
                if let LinkMethod::UprobeMulti { .. } = method {
                    links.push(multi_link(fd.as_fd(), object, &path, &sites, *pid)?);
                } else {
                    for site in &sites {
                        let event = perf_event(object, &path, site, *pid)?;
                        link(fd.as_fd(), object, site, event, method, &mut links)?;
                    }
                }
                reserve.check(&links).map_err(no_room)?;
                out.links.extend(links.into_iter().map(|link| (index, link)));
            }
        }
        out.programs.push(fd);
    }
    Ok(out)
}

fn cannot_attach(object: &PlannedObject) -> String {
    format!("cannot attach to {}", Escaped::new(&object.path))
}

fn multi_link(
    program: BorrowedFd<'_>,
    object: &PlannedObject,
    path: &CStr,
    sites: &[&Site],
    pid: u32,
) -> Result<Link> {
    let uprobe_site = |site: &&Site| UprobeSite {
        offset: site.offset,
        semaphore: site.semaphore_offset.unwrap_or(0),
        cookie: site.cookie.into(),
    };
    let sites: Vec<UprobeSite> = sites.iter().map(uprobe_site).collect();
    Link::create(|| syscall::link_uprobe_multi(program, path, &sites, pid)).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ESRCH) => no_process(pid),
            _ => Error::kernel_rejected(cannot_attach(object))(error),
        }
    })
}

/// Opens the perf event of a site.
fn perf_event(object: &PlannedObject, path: &CStr, site: &Site, pid: u32) -> Result<Link> {
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type").map_err(
        Error::kernel_rejected("the kernel has no uprobe events (CONFIG_UPROBE_EVENTS)"),
    )?;
    let semaphore = u32::try_from(site.semaphore_offset.unwrap_or(0)).map_err(|_| {
        Error::object(
            object.path.clone(),
            "its semaphores are beyond 4 GiB, out of reach of perf events; Linux 6.6 can attach to them",
        )
    })?;
    let kind = kind.trim().parse().unwrap_or(0);
    let create = || syscall::perf_event_uprobe(kind, path, site.offset, semaphore, pid);
    Link::create(create).map_err(|error| {
        if error.raw_os_error() == Some(libc::ESRCH) {
            return no_process(pid);
        }
        let mut what = cannot_attach(object);
        if error.raw_os_error() == Some(libc::EACCES) {
            // `perf_uprobe_event_init` accepts CAP_PERFMON only in recent kernels.
            what.push_str(" with perf events, which need CAP_SYS_ADMIN on this kernel");
        }
        Error::kernel_rejected(what)(error)
    })
}

/// Connects a perf event to a program: with a link that carries the cookie or, on kernels without
/// cookies, directly.
fn link(
    program: BorrowedFd<'_>,
    object: &PlannedObject,
    site: &Site,
    event: Link,
    method: LinkMethod,
    out: &mut Vec<Link>,
) -> Result<()> {
    let failed = Error::kernel_rejected(cannot_attach(object));
    if method == LinkMethod::ProgramPerSite {
        change(|| syscall::perf_event_run(event.as_fd(), program)).map_err(failed)?;
    } else {
        let create = || syscall::link_perf_event(program, event.as_fd(), site.cookie.into());
        out.push(Link::create(create).map_err(failed)?);
    }
    out.push(event);
    Ok(())
}
