//! Per-CPU rings that several sessions share. Each session has a number, which is in the headers of
//! its records.

use super::cpu_rings::CpuRingsReader;
use super::record_reader::RecordReader as _;
use crate::bpf::cpu_ring_format::CpuRings;
use crate::bpf::cpus::cpu_ids_end;
use crate::bpf::uapi::{BPF_F_MMAPABLE, BPF_MAP_TYPE_ARRAY};
use crate::bpf::{Map, MapFds, Shape};
use crate::error::Result;
use crate::kernel::detect;
use crate::kernel::maps::{create_map, create_ring, page};
use crate::kernel::{LinkMethod, Mechanism};
use std::os::fd::{AsFd as _, AsRawFd as _};

/// The length in bytes of the longest record in shared rings. Sessions with longer ones have an event
/// buffer of their own.
const LONGEST: u32 = 1 << 14;

/// Per-CPU rings that several sessions share, and their reader.
#[derive(Debug)]
pub struct SharedRings {
    events: Map,
    wakeup: Map,
    rings: CpuRings,
    reader: CpuRingsReader,
}

impl SharedRings {
    /// Creates rings with a total size of `buffer` bytes. `None` if the kernel lacks what they need, or
    /// if the buffer is too small for the CPUs of this machine.
    pub(crate) fn create(buffer: u32) -> Result<Option<SharedRings>> {
        let has_cookies = detect::link_method(Mechanism::Auto) != LinkMethod::ProgramPerSite;
        let is_supported = has_cookies && detect::preemption_functions().is_some();
        let cpus = cpu_ids_end().filter(|_| is_supported);
        let Some(rings) = cpus.and_then(|cpus| CpuRings::new(buffer, LONGEST, cpus)) else {
            return Ok(None);
        };
        let Some(value) = rings.value_size() else { return Ok(None) };
        let shape =
            Shape { kind: BPF_MAP_TYPE_ARRAY, key: 4, value, entries: 1, flags: BPF_F_MMAPABLE };
        // The limit of an array's size differs by version.
        let Ok(events) = create_map(c"usdt_events", shape) else { return Ok(None) };
        let wakeup = create_ring(c"usdt_wakeup", page())?;
        let reader = CpuRingsReader::new(&events, &wakeup, rings, LONGEST, true)?;
        Ok(Some(SharedRings { events, wakeup, rings, reader }))
    }

    /// Returns the rings as the programs of a session write to them; `None` if its records can be too
    /// long.
    pub(crate) fn rings(&self, session: u32, longest_record: u32) -> Option<CpuRings> {
        (longest_record <= LONGEST).then_some(CpuRings { session, ..self.rings })
    }

    /// Replaces the event buffer among the maps of a session.
    pub(crate) fn add_to(&self, maps: MapFds) -> MapFds {
        MapFds {
            events: self.events.as_fd().as_raw_fd(),
            wakeup: self.wakeup.as_fd().as_raw_fd(),
            ..maps
        }
    }

    /// Moves to the next record in the order of their times; returns false if none is published.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        self.reader.advance()
    }

    /// Returns the current record, and the number of the session that has written it.
    pub(crate) fn record(&self) -> (u32, &[u8]) {
        (self.reader.session(), self.reader.record())
    }

    /// Releases the space of all records read so far, including the current one.
    pub(crate) fn release(&mut self) {
        self.reader.release();
    }

    /// Returns the time up to which all records have been read, in nanoseconds of CLOCK_MONOTONIC, once
    /// [`SharedRings::advance`] has returned false.
    pub(crate) fn read_up_to(&self) -> u64 {
        self.reader.read_up_to()
    }

    /// Sets whether programs can still write. If not, the reader waits for no record.
    pub(crate) fn set_has_writers(&mut self, has_writers: bool) {
        self.reader.set_has_writers(has_writers);
    }

    /// Returns the number of records that came after a record with a later time.
    pub(crate) fn out_of_order(&self) -> u64 {
        self.reader.out_of_order()
    }
}
