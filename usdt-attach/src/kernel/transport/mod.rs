//! How records get from programs to the reader.

mod mapped_ring;
mod record_reader;
mod ringbuf;

use super::maps::Maps;
use crate::error::Result;
use crate::plan::Plan;
pub(super) use mapped_ring::MappedRing;
pub(crate) use record_reader::RecordReader;
pub(super) use ringbuf::RingBuf;

/// What reads the records, where the plan has any.
pub(crate) fn reader(maps: &Maps, plan: &Plan) -> Result<Option<Box<dyn RecordReader>>> {
    let Some(events) = &maps.events else { return Ok(None) };
    Ok(Some(match &maps.wakeup {
        Some(wakeup) => {
            Box::new(MappedRing::new(events, wakeup, plan.buffer, plan.largest_record())?)
        }
        None => Box::new(RingBuf::new(events)?),
    }))
}
