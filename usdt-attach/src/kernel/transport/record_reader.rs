//! The interface of a transport's reader.

use crate::error::Result;
use std::fmt::Debug;
use std::os::fd::BorrowedFd;

/// A reader of published records, which lends them one by one.
pub(crate) trait RecordReader: Send + Debug {
    /// Moves to the next record in order; returns false if none is published. The previous record
    /// may be overwritten then.
    fn advance(&mut self) -> Result<bool>;
    /// Returns the current record; empty if there is none.
    fn record(&self) -> &[u8];
    /// Ends a batch: releases the space of all records read so far, including the current one.
    fn release(&mut self);
    /// Returns the descriptor that becomes readable when records should be read soon.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Reads everything from now on: no program writes any more.
    fn end_of_writing(&mut self) {}
    /// Returns the number of records that came after a record with a later time.
    fn out_of_order(&self) -> u64 {
        0
    }
    /// The time up to which all records have been read once [`RecordReader::advance`] has returned
    /// false, in nanoseconds of CLOCK_MONOTONIC; `u64::MAX` if no published record is held back.
    fn read_up_to(&self) -> u64 {
        u64::MAX
    }
}
