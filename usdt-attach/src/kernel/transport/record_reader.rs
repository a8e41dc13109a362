//! What every transport's reader does.

use crate::error::Result;
use std::fmt::Debug;
use std::os::fd::BorrowedFd;

/// Most records read before the caller gets to look at signals again.
pub(super) const BATCH: usize = 8192;

/// Where records wait for the reader.
pub(crate) trait RecordReader: Send + Debug {
    /// Passes on the records that are there, in order, up to a batch. Returns whether there may be more.
    fn consume(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// Becomes readable when records should be read soon.
    fn fd(&self) -> BorrowedFd<'_>;
}
