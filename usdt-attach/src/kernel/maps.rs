//! The BPF maps of a session: the event buffer, counters per site, the hit limit, the table and its
//! starts.

use super::ProcessTree;
use crate::bpf::uapi::{
    BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_CGROUP_ARRAY,
    BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_RINGBUF,
};
use crate::bpf::{Map, MapFds, Shape, Transport, ring_format};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Plan, TableEntry};
use std::ffi::CStr;
use std::os::fd::{AsFd as _, AsRawFd as _};

/// Hit counts of a site, or their sum over several sites.
///
/// `hits` counts every hit; the other fields count the hits that had the outcome they name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Hits of the site by the traced processes, including hits that were filtered or dropped.
    pub hits: u64,
    /// Hits that were lost: the event buffer or the table was full, or a key could not be read.
    pub dropped: u64,
    /// Hits that the filter, the sampling or the rate limit rejected.
    pub filtered: u64,
    /// Starts that replaced an earlier start with the same key, whose end had not come.
    pub overwritten: u64,
    /// Ends for which there was no start.
    pub unmatched: u64,
    /// Ends whose start was not kept, because too many calls were nested in it.
    pub too_deep: u64,
    /// Hits by processes outside the PID namespace of this process, which are not part of `hits`.
    /// They are counted only if the target does not name its processes.
    pub outside: u64,
}

/// Adds the counts of two sites.
impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            hits: self.hits + other.hits,
            dropped: self.dropped + other.dropped,
            filtered: self.filtered + other.filtered,
            overwritten: self.overwritten + other.overwritten,
            unmatched: self.unmatched + other.unmatched,
            too_deep: self.too_deep + other.too_deep,
            outside: self.outside + other.outside,
        }
    }
}

/// Number of 64-bit counters per site.
const COUNTS: usize = 7;

/// The number of executables that a plan can be limited to. Each container of an image has its own.
const MAX_EXECUTABLES: u32 = 1 << 16;

/// The key of the first value of an array.
const FIRST: [u8; 4] = [0; 4];

/// The maps of a session.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) events: Option<Map>,
    /// The wakeup ring of a mapped ring; see [`transport`](super::transport).
    pub(crate) wakeup: Option<Map>,
    /// The transport of records.
    pub(crate) transport: Transport,
    counters: Map,
    control: Option<Map>,
    rates: Option<Map>,
    table: Option<Map>,
    zero: Option<Map>,
    starts: Option<Map>,
    /// Starts that are nested in those of `starts`.
    nested: Option<Map>,
    cgroup: Option<Map>,
    /// The tree whose map of processes the programs use.
    children: Option<ProcessTree>,
    executables: Option<Map>,
    sites: u32,
}

impl Maps {
    /// Creates the maps of a plan, without an event buffer if it shares one. If the kernel rejects the
    /// array of a transport, another one is used instead.
    pub(crate) fn create(
        plan: &Plan,
        mut transport: Transport,
        shares_buffer: bool,
    ) -> Result<Maps> {
        let create = |name, kind, (key, value, entries), flags| {
            create_map(name, Shape { kind, key, value, entries, flags })
        };
        let (array, hash) = (BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH);
        let (cpu_array, cpu_hash) = (BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH);
        let sites = plan.objects.iter().map(|o| o.sites.len() as u32).sum::<u32>().max(1);
        let probes = plan.probes.len().max(1) as u32;
        let (mut table, mut zero, mut starts, mut nested) = (None, None, None, None);
        if let Some(shape) = &plan.table {
            let value = shape.value_size();
            table = Some(if shape.is_array() {
                create(c"usdt_table", cpu_array, (4, value, probes), 0)?
            } else {
                // Without preallocation, because the number of keys is usually far below the limit.
                create(
                    c"usdt_table",
                    cpu_hash,
                    (shape.key_size, value, shape.entries),
                    BPF_F_NO_PREALLOC,
                )?
            });
            zero = Some(create(c"usdt_zero", array, (4, value, 1), 0)?);
            if let Some(shape) = shape.starts {
                starts = Some(create(
                    c"usdt_starts",
                    hash,
                    (shape.key_size, shape.value_size, shape.entries),
                    0,
                )?);
                if shape.nests {
                    let sizes = (shape.nested_key_size(), shape.value_size, shape.entries);
                    nested = Some(create(c"usdt_nested", hash, sizes, 0)?);
                }
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
        let executables = plan
            .executables
            .as_ref()
            .map(|_| create(c"usdt_programs", hash, (8, 4, MAX_EXECUTABLES), BPF_F_NO_PREALLOC))
            .transpose()?;
        let (mut events, mut wakeup) = (None, None);
        if plan.records() && !shares_buffer {
            let map;
            (map, transport) = create_event_buffer(plan, transport)?;
            events = Some(map);
            if transport != Transport::RingBuf {
                wakeup = Some(create_ring(c"usdt_wakeup", page())?);
            }
        }
        let maps = Maps {
            events,
            wakeup,
            transport,
            counters: create(c"usdt_counts", cpu_array, (4, 8 * COUNTS as u32, sites), 0)?,
            control: Some(create(c"usdt_control", array, (4, 8, 1), 0)?),
            rates,
            table,
            zero,
            starts,
            nested,
            cgroup,
            children: plan.children.clone(),
            executables,
            sites,
        };
        for address in plan.executables.iter().flatten() {
            maps.trace_executable(*address)?;
        }
        if let (Some(map), Some(limit)) = (&maps.control, plan.limit) {
            let left = i64::try_from(limit).unwrap_or(i64::MAX).to_ne_bytes();
            map.update(&FIRST, &left)
                .map_err(Error::kernel_rejected("cannot set the hit limit"))?;
        }
        if let (Some(map), Some(path)) = (&maps.cgroup, &plan.cgroup) {
            let open = |source| Error::open(path.clone(), source);
            let folder = std::fs::File::open(path).map_err(open)?;
            map.update(&FIRST, &folder.as_raw_fd().to_ne_bytes()).map_err(|_| {
                Error::object(path.clone(), "not a directory of the cgroup v2 hierarchy")
            })?;
        }
        Ok(maps)
    }

    /// Returns the file descriptors of the maps for generated programs.
    pub(crate) fn fds(&self) -> MapFds {
        let raw = |map: &Option<Map>| map.as_ref().map_or(-1, |map| map.as_fd().as_raw_fd());
        MapFds {
            events: raw(&self.events),
            wakeup: raw(&self.wakeup),
            counters: self.counters.as_fd().as_raw_fd(),
            control: raw(&self.control),
            rates: raw(&self.rates),
            table: raw(&self.table),
            zero: raw(&self.zero),
            starts: raw(&self.starts),
            nested: raw(&self.nested),
            cgroup: raw(&self.cgroup),
            processes: self.children.as_ref().map_or(-1, |tree| tree.members().as_raw_fd()),
            executables: raw(&self.executables),
        }
    }

    /// Closes the descriptors of maps that only programs use. Loaded programs keep the maps; the
    /// reader of the event buffer has a descriptor of its own.
    pub(crate) fn close_unread(&mut self) {
        for map in [&mut self.events, &mut self.wakeup, &mut self.control, &mut self.rates] {
            *map = None;
        }
        (self.zero, self.cgroup) = (None, None);
    }

    /// Also takes hits of processes that run this executable, given by the address of its inode, if
    /// the plan is limited to executables.
    pub(crate) fn trace_executable(&self, address: u64) -> Result<()> {
        let Some(map) = &self.executables else { return Ok(()) };
        map.update(&address.to_ne_bytes(), &[0; 4])
            .map_err(Error::kernel_rejected("cannot add an executable to those that are traced"))
    }

    /// Takes no more hits of processes that run this executable.
    pub(crate) fn forget_executable(&self, address: u64) -> Result<()> {
        let Some(map) = &self.executables else { return Ok(()) };
        map.delete(&address.to_ne_bytes()).map(drop).map_err(Error::kernel_rejected(
            "cannot remove an executable from those that are traced",
        ))
    }

    /// Returns the hit counts of each site, by cookie.
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
                too_deep: sum(5),
                outside: sum(6),
            });
        }
        Ok(out)
    }

    /// Returns the entries of the table. Keys that are added while it is read may be missing.
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

    /// Returns the keys of the table; none if it is an array.
    pub(crate) fn table_keys(&self) -> Result<Vec<Vec<u8>>> {
        match &self.table {
            Some(map) if map.shape().kind == BPF_MAP_TYPE_PERCPU_HASH => {
                map.keys().map_err(cannot_read())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Removes keys from the table.
    pub(crate) fn remove_from_table(&self, keys: &[&[u8]]) -> Result<()> {
        let Some(map) = &self.table else { return Ok(()) };
        keys.iter().try_for_each(|key| match map.delete(key) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::kernel_rejected("cannot remove a key of a BPF map")(error)),
        })
    }

    /// Returns the number of starts whose ends have not come, also of those that are not kept.
    pub(crate) fn waiting(&self) -> Result<u64> {
        let Some(map) = &self.starts else { return Ok(0) };
        let keys = map.keys().map_err(cannot_read())?;
        if self.nested.is_none() {
            return Ok(keys.len() as u64);
        }
        let (mut value, mut waiting) = (map.buffer(), 0);
        for key in keys {
            if map.lookup(&key, &mut value).map_err(cannot_read())? {
                // The last word is the number of starts nested in this one.
                waiting += 1 + value.last().copied().unwrap_or(0);
            }
        }
        Ok(waiting)
    }
}

/// A raw entry of a map.
pub(crate) struct RawEntry {
    pub(crate) key: Vec<u8>,
    /// The value; of a per-CPU map, one for each possible CPU.
    pub(crate) values: Vec<Vec<u8>>,
}

/// Reads the entries of a map; `None` if its kind has no entries. Entries of arrays that are zero
/// are left out.
pub(crate) fn read_entries(map: &Map) -> Result<Option<Vec<RawEntry>>> {
    use crate::bpf::uapi::{BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH};
    let shape = map.shape();
    let is_array = match shape.kind {
        BPF_MAP_TYPE_ARRAY | BPF_MAP_TYPE_PERCPU_ARRAY => true,
        BPF_MAP_TYPE_HASH
        | BPF_MAP_TYPE_LRU_HASH
        | BPF_MAP_TYPE_PERCPU_HASH
        | BPF_MAP_TYPE_LRU_PERCPU_HASH => false,
        _ => return Ok(None),
    };
    let mut values = map.buffer();
    let keys = if is_array {
        (0..shape.entries).map(|key| key.to_ne_bytes().to_vec()).collect()
    } else {
        map.keys().map_err(cannot_read())?
    };
    let mut out = Vec::new();
    for key in keys {
        if !map.lookup(&key, &mut values).map_err(cannot_read())?
            || is_array && values.iter().all(|word| *word == 0)
        {
            continue;
        }
        let bytes: Vec<u8> = values.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let values = bytes.chunks_exact((map.words() * 8).max(8));
        let values =
            values.map(|one| one.iter().take(shape.value as usize).copied().collect()).collect();
        out.push(RawEntry { key, values });
    }
    Ok(Some(out))
}

fn cannot_read() -> impl FnOnce(std::io::Error) -> Error {
    Error::kernel_rejected("cannot read a BPF map")
}

/// Creates the event buffer, and returns the transport that it is for. The limit of an array's size
/// differs by version, so that the kernel may reject that of the wanted transport.
fn create_event_buffer(plan: &Plan, transport: Transport) -> Result<(Map, Transport)> {
    let longest = plan.largest_record();
    let mapped_ring = (ring_format::value_size(plan.buffer, longest), Transport::MappedRing);
    let wanted = match transport {
        Transport::CpuRings(rings) => vec![(rings.value_size(), transport), mapped_ring],
        Transport::MappedRing => vec![mapped_ring],
        Transport::RingBuf => Vec::new(),
    };
    for (size, transport) in wanted {
        let Some(value) = size else { continue };
        let shape =
            Shape { kind: BPF_MAP_TYPE_ARRAY, key: 4, value, entries: 1, flags: BPF_F_MMAPABLE };
        if let Ok(map) = create_map(c"usdt_events", shape) {
            return Ok((map, transport));
        }
    }
    Ok((create_ring(c"usdt_events", plan.buffer)?, Transport::RingBuf))
}

/// Returns the size of a page in bytes, which is the smallest size of a ring buffer.
pub(super) fn page() -> u32 {
    rustix::param::page_size() as u32
}

/// Creates a ring buffer. Its size in bytes must be a power of two and at least a page.
pub(super) fn create_ring(name: &CStr, bytes: u32) -> Result<Map> {
    let shape = Shape { kind: BPF_MAP_TYPE_RINGBUF, entries: bytes, ..Shape::default() };
    Map::create(name, shape).map_err(|source| {
        let is_valid_size = bytes.is_power_of_two() && bytes >= page();
        if is_valid_size && source.raw_os_error() == Some(libc::EINVAL) {
            let kind = ErrorKind::Unsupported { since: Some("5.8") };
            let what = "this kernel has no BPF ring buffer, which tracing needs (Linux 5.8)";
            return Error::new(kind, what).with_source(source);
        }
        cannot_create(name, source)
    })
}

/// Creates a map.
pub(crate) fn create_map(name: &CStr, shape: Shape) -> Result<Map> {
    Map::create(name, shape).map_err(|source| cannot_create(name, source))
}

fn cannot_create(name: &CStr, source: std::io::Error) -> Error {
    Error::kernel_rejected(format!("cannot create the BPF map {}", name.to_string_lossy()))(source)
}
