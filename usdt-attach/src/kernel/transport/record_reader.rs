//! What every transport's reader does.

use crate::error::Result;
use std::fmt::Debug;
use std::os::fd::BorrowedFd;

/// Where records wait for the reader, which lends them one by one.
pub(crate) trait RecordReader: Send + Debug {
    /// Moves to the next record, in order; false if none is published. The record before it may be overwritten from here
    /// on.
    fn advance(&mut self) -> Result<bool>;
    /// The record moved to; empty if there is none.
    fn record(&self) -> &[u8];
    /// Ends a batch: the space of every record, the current one included, can be written again.
    fn release(&mut self);
    /// Becomes readable when records should be read soon.
    fn fd(&self) -> BorrowedFd<'_>;
}
