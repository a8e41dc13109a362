//! How records get from programs to the reader.

pub(super) mod mapped_ring;
mod perf;
pub(super) mod ringbuf;

use super::maps::Maps;
use crate::bpf::Transport;
use crate::error::{Error, Result};
use crate::plan::Plan;
use mapped_ring::MappedRing;
use perf::PerfBuffer;
use ringbuf::RingBuf;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What reads the records, where the plan has any.
pub(crate) fn reader(maps: &Maps, plan: &Plan) -> Result<Option<Box<dyn RecordReader>>> {
    let Some(events) = &maps.events else { return Ok(None) };
    let own =
        |fd: &OwnedFd| fd.try_clone().map_err(|source| Error::io("cannot share the event buffer", source));
    Ok(Some(match &maps.bell {
        Some(bell) => {
            Box::new(MappedRing::new(events.as_fd(), own(bell)?, plan.buffer, plan.largest_record())?)
        }
        None if maps.delivery == Transport::RingBuf => Box::new(RingBuf::new(own(events)?)?),
        None => Box::new(PerfBuffer::new(own(events)?, plan.buffer)?),
    }))
}

/// Where records wait for the reader.
pub(crate) trait RecordReader {
    /// Hands over what is there, in order, up to a batch. Returns whether there may be more. `last` says that no more
    /// are written.
    fn consume(&mut self, last: bool, sink: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// Becomes readable when the reader had better come.
    fn fd(&self) -> BorrowedFd<'_>;
}
