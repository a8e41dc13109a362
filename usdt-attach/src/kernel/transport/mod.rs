//! Event transports: how records get from BPF programs to the reader.
//!
//! * [`MappedRing`]: an MPSC ring in a BPF array map that the reader maps. It is the faster one,
//!   because programs write to it without calling a helper. It needs atomic operations that return
//!   the old value (Linux 5.12; on arm64 5.18) and attach cookies (Linux 5.15).
//! * [`RingBuf`]: the kernel's BPF ring buffer (Linux 5.8).

mod mapped_ring;
mod record_reader;
mod ringbuf;

use super::maps::Maps;
use crate::error::Result;
use crate::plan::Plan;
pub(super) use mapped_ring::MappedRing;
pub(crate) use record_reader::RecordReader;
pub(super) use ringbuf::RingBuf;

/// Returns the reader of a session's records; `None` if the plan records nothing.
pub(crate) fn reader(maps: &Maps, plan: &Plan) -> Result<Option<Box<dyn RecordReader>>> {
    let Some(events) = &maps.events else { return Ok(None) };
    Ok(Some(match &maps.wakeup {
        Some(wakeup) => {
            Box::new(MappedRing::new(events, wakeup, plan.buffer, plan.largest_record())?)
        }
        None => Box::new(RingBuf::new(events)?),
    }))
}
