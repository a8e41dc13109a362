//! The maps a trace needs: the event buffer, hit counters per site, the hit budget.
#![allow(unsafe_code)] // libbpf calls; arguments are checked here, pointers live through the call

use crate::error::{Error, Result};
use crate::plan::Plan;
use libbpf_sys as bpf;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// File descriptors of the maps, as instructions carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFds {
    /// `BPF_MAP_TYPE_RINGBUF`.
    pub ring: i32,
    /// Per-CPU array, one [`Counts`] a site: hits, dropped, filtered.
    pub counters: i32,
    /// Array of one `s64`: hits left to record.
    pub control: i32,
}

/// What happened at a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Times the site was reached.
    pub hits: u64,
    /// Hits whose record did not fit the buffer.
    pub dropped: u64,
    /// Hits that the filter turned away.
    pub filtered: u64,
}

/// Bytes of a counter value.
const COUNTS_SIZE: usize = 24;

/// Owned maps.
pub(crate) struct Maps {
    pub(crate) ring: OwnedFd,
    pub(crate) counters: OwnedFd,
    pub(crate) control: OwnedFd,
    sites: u32,
}

impl Maps {
    /// Creates the maps of a plan.
    pub(crate) fn create(plan: &Plan) -> Result<Maps> {
        let sites = plan.objects.iter().map(|o| o.sites.len() as u32).sum::<u32>().max(1);
        let maps = Maps {
            ring: create(c"usdt_events", bpf::BPF_MAP_TYPE_RINGBUF, 0, 0, plan.buffer)?,
            counters: create(c"usdt_counts", bpf::BPF_MAP_TYPE_PERCPU_ARRAY, 4, COUNTS_SIZE as u32, sites)?,
            control: create(c"usdt_control", bpf::BPF_MAP_TYPE_ARRAY, 4, 8, 1)?,
            sites,
        };
        maps.set_budget(plan)?;
        Ok(maps)
    }

    fn set_budget(&self, plan: &Plan) -> Result<()> {
        let Some(limit) = plan.limit else { return Ok(()) };
        let (key, value) = (0u32, i64::try_from(limit).unwrap_or(i64::MAX));
        // SAFETY: key and value have the map's sizes and outlive the call.
        let code = unsafe {
            bpf::bpf_map_update_elem(
                self.control.as_raw_fd(),
                (&raw const key).cast(),
                (&raw const value).cast(),
                0,
            )
        };
        if code < 0 { Err(Error::errno("cannot set the event limit", code)) } else { Ok(()) }
    }

    pub(crate) fn fds(&self) -> MapFds {
        MapFds {
            ring: self.ring.as_raw_fd(),
            counters: self.counters.as_raw_fd(),
            control: self.control.as_raw_fd(),
        }
    }

    /// Sums of all CPUs, by cookie.
    pub(crate) fn counts(&self) -> Result<Vec<Counts>> {
        // SAFETY: no arguments.
        let cpus = unsafe { bpf::libbpf_num_possible_cpus() };
        let cpus = usize::try_from(cpus).map_err(|_| Error::errno("cannot count the CPUs", cpus))?;
        let mut values = vec![[0u64; COUNTS_SIZE / 8]; cpus];
        let mut out = Vec::with_capacity(self.sites as usize);
        for key in 0..self.sites {
            // SAFETY: the value buffer has one slot of the map's value size, a multiple of 8, per possible CPU.
            let code = unsafe {
                bpf::bpf_map_lookup_elem(
                    self.counters.as_raw_fd(),
                    (&raw const key).cast(),
                    values.as_mut_ptr().cast(),
                )
            };
            if code < 0 {
                return Err(Error::errno("cannot read the counters", code));
            }
            let sum = |i: usize| values.iter().filter_map(|v| v.get(i)).sum();
            out.push(Counts { hits: sum(0), dropped: sum(1), filtered: sum(2) });
        }
        Ok(out)
    }
}

fn create(name: &CStr, kind: bpf::bpf_map_type, key: u32, value: u32, entries: u32) -> Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated and outlives the call; no options.
    let fd = unsafe { bpf::bpf_map_create(kind, name.as_ptr(), key, value, entries, std::ptr::null()) };
    if fd < 0 {
        return Err(Error::errno(format!("cannot create the BPF map {}", name.to_string_lossy()), fd));
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
