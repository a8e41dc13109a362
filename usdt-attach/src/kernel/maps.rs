//! The maps a session needs: the event buffer, counters per site, the hit budget, the table and its starts.
#![allow(unsafe_code)] // libbpf calls; arguments are checked here, pointers live through the call

use super::transport::mapped_ring as queue;
use crate::bpf::{MapFds, Transport};
use crate::error::{Error, Result};
use crate::plan::Entry;
use crate::plan::Plan;
use libbpf_sys as bpf;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What happened at a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Times the site was reached.
    pub hits: u64,
    /// Hits whose record did not fit the buffer, or whose key did not fit the table or could not be read.
    pub dropped: u64,
    /// Hits that the filter or the sampling turned away.
    pub filtered: u64,
    /// Starts that took the place of one whose end never came.
    pub overwritten: u64,
    /// Ends without a start.
    pub unmatched: u64,
}

/// Bytes behind a record that is put together in a map.
const SCRATCH_USERS: u32 = 8;

/// Words of a counter value.
const COUNTS: usize = 5;

/// Owned maps.
pub(crate) struct Maps {
    pub(crate) events: Option<OwnedFd>,
    pub(crate) bell: Option<OwnedFd>,
    /// How records get to the reader.
    pub(crate) delivery: Transport,
    scratch: Option<OwnedFd>,
    counters: OwnedFd,
    control: OwnedFd,
    rates: Option<OwnedFd>,
    table: Option<OwnedFd>,
    zero: Option<OwnedFd>,
    starts: Option<OwnedFd>,
    cgroup: Option<OwnedFd>,
    sites: u32,
    cpus: usize,
}

impl Maps {
    /// Creates the maps of a plan, whose records are delivered in this way, or, where the kernel has no array of that
    /// size, by a ring buffer.
    pub(crate) fn create(plan: &Plan, mut delivery: Transport) -> Result<Maps> {
        use bpf::{
            BPF_MAP_TYPE_ARRAY as ARRAY, BPF_MAP_TYPE_CGROUP_ARRAY as CGROUPS, BPF_MAP_TYPE_HASH as HASH,
            BPF_MAP_TYPE_PERCPU_ARRAY as CPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH as CPU_HASH,
        };
        let sites = plan.objects.iter().map(|o| o.sites.len() as u32).sum::<u32>().max(1);
        let probes = plan.probes.len().max(1) as u32;
        let (mut table, mut zero, mut starts) = (None, None, None);
        if let Some(shape) = &plan.table {
            let value = shape.value_size();
            table = Some(if shape.is_array() {
                create(c"usdt_table", CPU_ARRAY, (4, value, probes), 0)?
            } else {
                // Entries are as many as keys, not as many as there could be.
                let on_demand = bpf::BPF_F_NO_PREALLOC;
                create(c"usdt_table", CPU_HASH, (shape.key_size, value, shape.entries), on_demand)?
            });
            zero = Some(create(c"usdt_zero", ARRAY, (4, value, 1), 0)?);
            if let Some(shape) = shape.starts {
                let entries = plan.table.as_ref().map_or(1, |t| t.entries);
                starts = Some(create(c"usdt_starts", HASH, (shape.key_size, shape.value_size, entries), 0)?);
            }
        }
        let rates = plan.rate.map(|_| create(c"usdt_rates", ARRAY, (4, 8 * probes, 1), 0)).transpose()?;
        let cgroup =
            plan.cgroup.as_ref().map(|_| create(c"usdt_cgroup", CGROUPS, (4, 4, 1), 0)).transpose()?;
        let cpus = possible_cpus()?;
        let (mut events, mut bell, mut scratch) = (None, None, None);
        if plan.records() && delivery == Transport::MappedRing {
            events = create_queue(plan);
            if events.is_some() {
                bell = Some(create_ring(c"usdt_bell", page())?);
            } else {
                delivery = Transport::RingBuf;
            }
        }
        if plan.records() && delivery == Transport::RingBuf {
            events = Some(create_ring(c"usdt_events", plan.buffer)?);
        }
        if plan.records() && delivery == Transport::PerfBuffer {
            let shape = (4, 4, cpus as u32);
            events = Some(create(c"usdt_events", bpf::BPF_MAP_TYPE_PERF_EVENT_ARRAY, shape, 0)?);
            let room = plan.largest_record() + SCRATCH_USERS;
            scratch = Some(create(c"usdt_scratch", CPU_ARRAY, (4, room, 1), 0)?);
        }
        let maps = Maps {
            events,
            bell,
            delivery,
            scratch,
            counters: create(c"usdt_counts", CPU_ARRAY, (4, 8 * COUNTS as u32, sites), 0)?,
            control: create(c"usdt_control", ARRAY, (4, 8, 1), 0)?,
            rates,
            table,
            zero,
            starts,
            cgroup,
            sites,
            cpus,
        };
        if let Some(limit) = plan.limit {
            let left = i64::try_from(limit).unwrap_or(i64::MAX).to_ne_bytes();
            set_first(maps.control.as_fd(), &left)
                .map_err(|code| Error::errno("cannot set the limit", code))?;
        }
        if let (Some(map), Some(path)) = (&maps.cgroup, &plan.cgroup) {
            let open = |source| Error::open(path.clone(), source);
            let folder = std::fs::File::open(path).map_err(open)?;
            set_first(map.as_fd(), &folder.as_raw_fd().to_ne_bytes()).map_err(|_| {
                Error::object(path.clone(), "not a cgroup of the unified hierarchy (cgroup2)")
            })?;
        }
        Ok(maps)
    }

    pub(crate) fn fds(&self) -> MapFds {
        let raw = |fd: &Option<OwnedFd>| fd.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        MapFds {
            events: raw(&self.events),
            bell: raw(&self.bell),
            scratch: raw(&self.scratch),
            counters: self.counters.as_raw_fd(),
            control: self.control.as_raw_fd(),
            rates: raw(&self.rates),
            table: raw(&self.table),
            zero: raw(&self.zero),
            starts: raw(&self.starts),
            cgroup: raw(&self.cgroup),
        }
    }

    /// Sums of all CPUs, by cookie.
    pub(crate) fn counts(&self) -> Result<Vec<Counts>> {
        let mut out = Vec::with_capacity(self.sites as usize);
        let mut values = vec![0u64; COUNTS * self.cpus];
        for key in 0..self.sites {
            if !lookup(self.counters.as_fd(), &key.to_ne_bytes(), &mut values)? {
                return Err(Error::errno("cannot read the counters", -libc::ENOENT));
            }
            let sum = |i: usize| values.iter().skip(i).step_by(COUNTS).sum();
            out.push(Counts {
                hits: sum(0),
                dropped: sum(1),
                filtered: sum(2),
                overwritten: sum(3),
                unmatched: sum(4),
            });
        }
        Ok(out)
    }

    /// The table as it is now. Keys that come while it is read may be in it or not.
    pub(crate) fn table(&self, plan: &Plan) -> Result<Vec<Entry>> {
        let (Some(map), Some(shape)) = (&self.table, &plan.table) else { return Ok(Vec::new()) };
        let words = shape.value_size() as usize / 8;
        let mut values = vec![0u64; words * self.cpus];
        let mut out = Vec::new();
        let keys = if shape.is_array() {
            (0..plan.probes.len() as u32).map(|key| key.to_ne_bytes().to_vec()).collect()
        } else {
            keys(map.as_fd(), shape.key_size as usize)?
        };
        for mut key in keys {
            if lookup(map.as_fd(), &key, &mut values)? {
                key.resize(shape.key_size as usize, 0);
                let values = values.chunks_exact(words).map(<[u64]>::to_vec).collect();
                out.push(Entry { key, values });
            }
        }
        Ok(out)
    }

    /// Starts whose end has not come.
    pub(crate) fn waiting(&self, plan: &Plan) -> Result<u64> {
        let shape = plan.table.as_ref().and_then(|t| t.starts);
        let (Some(map), Some(shape)) = (&self.starts, shape) else { return Ok(0) };
        Ok(keys(map.as_fd(), shape.key_size as usize)?.len() as u64)
    }
}

/// A key, and its value or that of each CPU.
pub(crate) type Raw = (Vec<u8>, Vec<Vec<u8>>);

/// Keys of somebody else's map, and the value of each, or one for each CPU; `None` for kinds that have none. Values of
/// arrays that are zero are left out. The shape is kind, entries, and bytes of keys and values.
pub(crate) fn read_table(
    map: BorrowedFd<'_>,
    (kind, entries, key_size, value_size): (u32, u32, usize, usize),
) -> Result<Option<Vec<Raw>>> {
    let (array, per_cpu) = match kind {
        bpf::BPF_MAP_TYPE_ARRAY => (true, false),
        bpf::BPF_MAP_TYPE_PERCPU_ARRAY => (true, true),
        bpf::BPF_MAP_TYPE_HASH | bpf::BPF_MAP_TYPE_LRU_HASH => (false, false),
        bpf::BPF_MAP_TYPE_PERCPU_HASH | bpf::BPF_MAP_TYPE_LRU_PERCPU_HASH => (false, true),
        _ => return Ok(None),
    };
    let room = value_size.next_multiple_of(8);
    let cpus = if per_cpu { possible_cpus()? } else { 1 };
    let mut values = vec![0u64; room / 8 * cpus];
    let all = if array {
        (0..entries).map(|key| key.to_ne_bytes().to_vec()).collect()
    } else {
        keys(map, key_size)?
    };
    let mut out = Vec::new();
    for key in all {
        if !lookup(map, &key, &mut values)? || array && values.iter().all(|word| *word == 0) {
            continue;
        }
        let bytes: Vec<u8> = values.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let each = bytes.chunks_exact(room.max(8)).map(|one| one.iter().take(value_size).copied().collect());
        out.push((key, each.collect()));
    }
    Ok(Some(out))
}

pub(super) fn possible_cpus() -> Result<usize> {
    // SAFETY: no arguments.
    let cpus = unsafe { bpf::libbpf_num_possible_cpus() };
    usize::try_from(cpus).map_err(|_| Error::errno("cannot count the CPUs", cpus))
}

/// Sets the value at index 0 of an array.
fn set_first(map: BorrowedFd<'_>, value: &[u8]) -> std::result::Result<(), i32> {
    let key = 0u32;
    // SAFETY: key and value have the map's sizes, by its creation above, and outlive the call.
    let code = unsafe {
        bpf::bpf_map_update_elem(map.as_raw_fd(), (&raw const key).cast(), value.as_ptr().cast(), 0)
    };
    if code < 0 { Err(code) } else { Ok(()) }
}

/// Reads the values of a key of a per-CPU map; false where the key is gone.
fn lookup(map: BorrowedFd<'_>, key: &[u8], values: &mut [u64]) -> Result<bool> {
    // SAFETY: the key has the map's key size; the buffer has the map's value size, a multiple of 8, for each
    // possible CPU.
    let code =
        unsafe { bpf::bpf_map_lookup_elem(map.as_raw_fd(), key.as_ptr().cast(), values.as_mut_ptr().cast()) };
    match code {
        0.. => Ok(true),
        _ if code == -libc::ENOENT => Ok(false),
        _ => Err(Error::errno("cannot read a BPF map", code)),
    }
}

/// Every key of a hash.
fn keys(map: BorrowedFd<'_>, size: usize) -> Result<Vec<Vec<u8>>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    loop {
        let mut next = vec![0; size];
        let from = last.as_ref().map_or(std::ptr::null(), Vec::as_ptr);
        // SAFETY: both keys have the map's key size; none means the first.
        let code =
            unsafe { bpf::bpf_map_get_next_key(map.as_raw_fd(), from.cast(), next.as_mut_ptr().cast()) };
        if code == -libc::ENOENT {
            break;
        }
        if code < 0 {
            return Err(Error::errno("cannot read a BPF map", code));
        }
        out.push(next.clone());
        last = Some(next);
    }
    // A key that is removed while it is the last one read starts the walk anew.
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

/// Memory that both sides map. Kernels have had different limits on the size of a value.
fn create_queue(plan: &Plan) -> Option<OwnedFd> {
    let bytes = queue::value_size(plan.buffer, plan.largest_record())?;
    create(c"usdt_events", bpf::BPF_MAP_TYPE_ARRAY, (4, bytes, 1), bpf::BPF_F_MMAPABLE).ok()
}

/// Bytes of the smallest ring buffer.
pub(super) fn page() -> u32 {
    rustix::param::page_size() as u32
}

/// A buffer of its own.
pub(super) fn create_ring(name: &CStr, bytes: u32) -> Result<OwnedFd> {
    create(name, bpf::BPF_MAP_TYPE_RINGBUF, (0, 0, bytes), 0)
}

/// A map of any kind that this describes completely: bytes of a key, bytes of a value, entries.
pub(crate) fn create_map(name: &CStr, kind: u32, shape: (u32, u32, u32), flags: u32) -> Result<OwnedFd> {
    create(name, kind, shape, flags)
}

fn create(
    name: &CStr,
    kind: bpf::bpf_map_type,
    (key, value, entries): (u32, u32, u32),
    flags: u32,
) -> Result<OwnedFd> {
    let options = bpf::bpf_map_create_opts {
        sz: size_of::<bpf::bpf_map_create_opts>() as _,
        map_flags: flags,
        ..Default::default()
    };
    // SAFETY: name and options outlive the call.
    let fd = unsafe { bpf::bpf_map_create(kind, name.as_ptr(), key, value, entries, &raw const options) };
    if fd < 0 {
        return Err(Error::errno(format!("cannot create the BPF map {}", name.to_string_lossy()), fd));
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
