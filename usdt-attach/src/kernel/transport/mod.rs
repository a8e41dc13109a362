//! Event transports: how records get from BPF programs to the reader.
//!
//! * [`CpuRingsReader`]: a ring per CPU in a BPF array map that the reader maps. Programs of
//!   different CPUs share no cache line. It needs kernel functions that disable preemption (Linux
//!   6.10), and a buffer of at least 256 KiB for each CPU.
//! * [`MappedRing`]: an MPSC ring in a BPF array map that the reader maps. It is the faster one,
//!   because programs write to it without calling a helper. It needs atomic operations that return
//!   the old value (Linux 5.12; on arm64 5.18) and attach cookies (Linux 5.15).
//! * [`RingBuf`]: the kernel's BPF ring buffer (Linux 5.8).

mod cpu_rings;
mod mapped_memory;
mod mapped_ring;
mod record_reader;
mod ringbuf;
mod shared_rings;

use super::maps::Maps;
use crate::bpf::Transport;
use crate::error::Result;
use crate::plan::Plan;
pub(super) use cpu_rings::CpuRingsReader;
pub(super) use mapped_ring::MappedRing;
pub(crate) use record_reader::RecordReader;
pub(super) use ringbuf::RingBuf;
pub use shared_rings::SharedRings;

/// Returns the reader of a session's records; `None` if the plan records nothing.
pub(crate) fn reader(maps: &Maps, plan: &Plan) -> Result<Option<Box<dyn RecordReader>>> {
    let Some(events) = &maps.events else { return Ok(None) };
    let longest = plan.largest_record();
    Ok(Some(match (&maps.wakeup, maps.transport) {
        (Some(wakeup), Transport::CpuRings(rings)) => {
            Box::new(CpuRingsReader::new(events, wakeup, rings, longest, false)?)
        }
        (Some(wakeup), Transport::MappedRing) => {
            Box::new(MappedRing::new(events, wakeup, plan.buffer, longest)?)
        }
        _ => Box::new(RingBuf::new(events)?),
    }))
}
