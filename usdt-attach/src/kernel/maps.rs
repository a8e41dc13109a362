//! The maps a session needs: the event buffer, counters per site, the hit budget, the table and its starts.

use crate::bpf::uapi::{
    BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_CGROUP_ARRAY,
    BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_RINGBUF,
};
use crate::bpf::{Map, MapFds, Shape, Transport, ring_format};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Plan, TableEntry};
use std::ffi::CStr;
use std::os::fd::{AsFd as _, AsRawFd as _};

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

/// Words of a counter value.
const COUNTS: usize = 5;

/// The key of an array's first value.
const FIRST: [u8; 4] = [0; 4];

/// Owned maps.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) events: Option<Map>,
    /// Wakes the reader of a mapped ring.
    pub(crate) wakeup: Option<Map>,
    /// How records get to the reader.
    pub(crate) transport: Transport,
    counters: Map,
    control: Map,
    rates: Option<Map>,
    table: Option<Map>,
    zero: Option<Map>,
    starts: Option<Map>,
    cgroup: Option<Map>,
    sites: u32,
}

impl Maps {
    /// Creates the maps of a plan, whose records are delivered in this way, or, where the kernel has no array of that
    /// size, by a ring buffer.
    pub(crate) fn create(plan: &Plan, mut transport: Transport) -> Result<Maps> {
        let create = |name, kind, (key, value, entries), flags| {
            create_map(name, Shape { kind, key, value, entries, flags })
        };
        let (array, hash) = (BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH);
        let (cpu_array, cpu_hash) = (BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH);
        let sites = plan.objects.iter().map(|o| o.sites.len() as u32).sum::<u32>().max(1);
        let probes = plan.probes.len().max(1) as u32;
        let (mut table, mut zero, mut starts) = (None, None, None);
        if let Some(shape) = &plan.table {
            let value = shape.value_size();
            table = Some(if shape.is_array() {
                create(c"usdt_table", cpu_array, (4, value, probes), 0)?
            } else {
                // Entries are as many as keys, not as many as there could be.
                create(
                    c"usdt_table",
                    cpu_hash,
                    (shape.key_size, value, shape.entries),
                    BPF_F_NO_PREALLOC,
                )?
            });
            zero = Some(create(c"usdt_zero", array, (4, value, 1), 0)?);
            if let Some(shape) = shape.starts {
                let entries = plan.table.as_ref().map_or(1, |t| t.entries);
                starts = Some(create(
                    c"usdt_starts",
                    hash,
                    (shape.key_size, shape.value_size, entries),
                    0,
                )?);
            }
        }
        let rates =
            plan.rate.map(|_| create(c"usdt_rates", array, (4, 8 * probes, 1), 0)).transpose()?;
        let cgroups = BPF_MAP_TYPE_CGROUP_ARRAY;
        let cgroup = plan
            .cgroup
            .as_ref()
            .map(|_| create(c"usdt_cgroup", cgroups, (4, 4, 1), 0))
            .transpose()?;
        let (mut events, mut wakeup) = (None, None);
        if plan.records() && transport == Transport::MappedRing {
            events = create_mapped_ring(plan);
            if events.is_some() {
                wakeup = Some(create_ring(c"usdt_wakeup", page())?);
            } else {
                transport = Transport::RingBuf;
            }
        }
        if plan.records() && transport == Transport::RingBuf {
            events = Some(create_ring(c"usdt_events", plan.buffer)?);
        }
        let maps = Maps {
            events,
            wakeup,
            transport,
            counters: create(c"usdt_counts", cpu_array, (4, 8 * COUNTS as u32, sites), 0)?,
            control: create(c"usdt_control", array, (4, 8, 1), 0)?,
            rates,
            table,
            zero,
            starts,
            cgroup,
            sites,
        };
        if let Some(limit) = plan.limit {
            let left = i64::try_from(limit).unwrap_or(i64::MAX).to_ne_bytes();
            maps.control
                .update(&FIRST, &left)
                .map_err(Error::kernel_rejected("cannot set the limit"))?;
        }
        if let (Some(map), Some(path)) = (&maps.cgroup, &plan.cgroup) {
            let open = |source| Error::open(path.clone(), source);
            let folder = std::fs::File::open(path).map_err(open)?;
            map.update(&FIRST, &folder.as_raw_fd().to_ne_bytes()).map_err(|_| {
                Error::object(path.clone(), "not a cgroup of the unified hierarchy (cgroup2)")
            })?;
        }
        Ok(maps)
    }

    pub(crate) fn fds(&self) -> MapFds {
        let raw = |map: &Option<Map>| map.as_ref().map_or(-1, |map| map.as_fd().as_raw_fd());
        MapFds {
            events: raw(&self.events),
            wakeup: raw(&self.wakeup),
            counters: self.counters.as_fd().as_raw_fd(),
            control: self.control.as_fd().as_raw_fd(),
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
        let mut values = self.counters.buffer();
        for key in 0..self.sites {
            if !self.counters.lookup(&key.to_ne_bytes(), &mut values).map_err(cannot_read())? {
                return Err(cannot_read()(std::io::ErrorKind::NotFound.into()));
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
    pub(crate) fn table(&self, plan: &Plan) -> Result<Vec<TableEntry>> {
        let (Some(map), Some(shape)) = (&self.table, &plan.table) else { return Ok(Vec::new()) };
        let mut values = map.buffer();
        let mut out = Vec::new();
        let keys = if shape.is_array() {
            (0..plan.probes.len() as u32).map(|key| key.to_ne_bytes().to_vec()).collect()
        } else {
            map.keys().map_err(cannot_read())?
        };
        for mut key in keys {
            if map.lookup(&key, &mut values).map_err(cannot_read())? {
                key.resize(shape.key_size as usize, 0);
                let values = values.chunks_exact(map.words()).map(<[u64]>::to_vec).collect();
                out.push(TableEntry { key, values });
            }
        }
        Ok(out)
    }

    /// Starts whose end has not come.
    pub(crate) fn waiting(&self) -> Result<u64> {
        let Some(map) = &self.starts else { return Ok(0) };
        Ok(map.keys().map_err(cannot_read())?.len() as u64)
    }
}

/// A key, and its value or that of each CPU.
pub(crate) type Raw = (Vec<u8>, Vec<Vec<u8>>);

/// Keys of a map, and the value of each, or one for each CPU; `None` for kinds that have none. Values of arrays that
/// are zero are left out.
pub(crate) fn read_entries(map: &Map) -> Result<Option<Vec<Raw>>> {
    use crate::bpf::uapi::{BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH};
    let shape = map.shape();
    let array = match shape.kind {
        BPF_MAP_TYPE_ARRAY | BPF_MAP_TYPE_PERCPU_ARRAY => true,
        BPF_MAP_TYPE_HASH
        | BPF_MAP_TYPE_LRU_HASH
        | BPF_MAP_TYPE_PERCPU_HASH
        | BPF_MAP_TYPE_LRU_PERCPU_HASH => false,
        _ => return Ok(None),
    };
    let mut values = map.buffer();
    let all = if array {
        (0..shape.entries).map(|key| key.to_ne_bytes().to_vec()).collect()
    } else {
        map.keys().map_err(cannot_read())?
    };
    let mut out = Vec::new();
    for key in all {
        if !map.lookup(&key, &mut values).map_err(cannot_read())?
            || array && values.iter().all(|word| *word == 0)
        {
            continue;
        }
        let bytes: Vec<u8> = values.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let each = bytes.chunks_exact((map.words() * 8).max(8));
        out.push((
            key,
            each.map(|one| one.iter().take(shape.value as usize).copied().collect()).collect(),
        ));
    }
    Ok(Some(out))
}

fn cannot_read() -> impl FnOnce(std::io::Error) -> Error {
    Error::kernel_rejected("cannot read a BPF map")
}

/// Memory that both sides map. Kernels have had different limits on the size of a value.
fn create_mapped_ring(plan: &Plan) -> Option<Map> {
    let value = ring_format::value_size(plan.buffer, plan.largest_record())?;
    let shape =
        Shape { kind: BPF_MAP_TYPE_ARRAY, key: 4, value, entries: 1, flags: BPF_F_MMAPABLE };
    create_map(c"usdt_events", shape).ok()
}

/// Bytes of the smallest ring buffer.
pub(super) fn page() -> u32 {
    rustix::param::page_size() as u32
}

/// A ring buffer of this size in bytes: a power of two, at least a page.
pub(super) fn create_ring(name: &CStr, bytes: u32) -> Result<Map> {
    let shape = Shape { kind: BPF_MAP_TYPE_RINGBUF, entries: bytes, ..Shape::default() };
    Map::create(name, shape).map_err(|source| {
        let right = bytes.is_power_of_two() && bytes >= page();
        if right && source.raw_os_error() == Some(libc::EINVAL) {
            let kind = ErrorKind::Unsupported { since: Some("5.8") };
            let what = "tracing needs Linux 5.8, whose BPF ring buffer this kernel does not have";
            return Error::new(kind, what).with_source(source);
        }
        cannot_create(name, source)
    })
}

/// A map of any kind that its shape describes completely.
pub(crate) fn create_map(name: &CStr, shape: Shape) -> Result<Map> {
    Map::create(name, shape).map_err(|source| cannot_create(name, source))
}

fn cannot_create(name: &CStr, source: std::io::Error) -> Error {
    Error::kernel_rejected(format!("cannot create the BPF map {}", name.to_string_lossy()))(source)
}
